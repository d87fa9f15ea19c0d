"""How long, on what, and what is written. Keys and values are detectron2's where it has them; counts are iterations."""

train = dict(
    output_dir="output/run",
    overwrite=False,  # True: start anew in a folder that holds a run
    init_checkpoint="",  # weights to start from (nothing else of that checkpoint is used)
    init_strict=True,  # False: start from the weights that fit, and say which do not
    init_classes="",  # of a checkpoint that does not hold its class names: a list, a file, or "coco" for COCO's 80
    init_shared="",  # entries that the runs of a comparison begin with; tools/compare.py sets it
    freeze=[],  # what does not learn: names of modules or parameters, with * and ?; "!name" takes one back
    reset=[],  # what keeps its initial values whatever init_checkpoint holds; patterns as in freeze
    max_iter=90000,
    time="",  # such as "30m": measured before the first step, sets max_iter
    batch_size="",  # "auto", on a GPU: measured before the first step, sets dataloader.train.batch_size
    device="auto",  # "cuda" where there is one, else "cpu"
    seed=0,
    num_threads=0,  # of the CPU; 0 leaves torch's choice. Bitwise repeatability needs a fixed number
    amp=dict(enabled=False, dtype="float16"),  # mixed precision; "bfloat16" needs no loss scaling
    ema=dict(enabled=False, decay=0.999),  # averaged weights, which are then what is evaluated
    clip_grad=dict(max_norm=0.0),  # largest L2 norm of all gradients together; 0 is off
    accumulate=1,  # batches whose gradients are added up before one optimizer step
    reference_batch=0,  # images a step that optimizer.lr is for: the rate scales linearly with the batch; 0 is off
    compile=False,  # torch.compile and channels-last: faster on GPUs, slower on CPUs
    channels_last=False,
    find_unused_parameters=False,  # DistributedDataParallel: True if some parameters get no gradient in some steps
    eval_period=5000,  # 0: only at the end
    log_period=20,
    checkpointer=dict(period=5000, max_to_keep=100),  # last.pth and best.pth are kept besides
    best_metric="AP",  # what best.pth is best in: any number of the evaluation
    early_stopping=dict(patience=0),  # evaluations without a new best before the run ends; 0 is off
    tensorboard=True,  # metrics.jsonl is written in any case
    loggers=[],  # besides TensorBoard: "wandb", "mlflow", or an entry point of the group imbdet.loggers
    val_loss_batches=4,  # batches of the validation set whose loss is plotted beside the training loss
    val_pictures=4,  # validation images that are drawn with their boxes
)
