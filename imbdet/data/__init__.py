"""From files to batches: `datasets` read them into `Records`, `checks` say what is wrong with them, `statistics` what is
imbalanced in them; `samplers`, `augment` and `loader` make batches of them."""
