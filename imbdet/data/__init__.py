"""From files to batches.

`datasets` read files into `Records`, `checks` say what is wrong with them and `statistics` what is imbalanced in them;
`samplers`, `augment` and `loader` make batches of them.
"""
