"""Broken, strange and hostile inputs, thousands of them, through the same entry as the command line.

    make fuzz N=10000                                 all kinds; prints the seed, and a command for each failure
    python -m tests.fuzz 500 --kinds yolo,voc         some kinds
    python -m tests.fuzz --case yolo:137 --seed 3     one input again, kept in a folder, with what came out

    mutations.py   changes of plain objects, of text and of bytes
    inputs.py      the kinds of inputs and their shares
    data_inputs.py annotations, results, pictures: what is written into a folder, and what is run on it
    run_inputs.py  configs, overrides, checkpoints, comparisons
    samples.py     the whole data set, config and runs that they start from
    guard.py       runs a step and judges it: exit code, message, what was opened, written or executed
    __main__.py    one child process of limited memory, which is started again when it dies

An input passes if every step of it ends in time with an exit code that is documented, says a mistake in one line, lets
no other exception out, opens no device, writes nothing outside of its folder and executes nothing; and if training can
load what check_data passed. Every input is a function of its kind, its number and the seed.
"""
