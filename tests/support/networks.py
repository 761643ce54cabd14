"""Optimizers that the agreement tests of networks try."""

OPTIMIZERS = {
    "sgd": lambda engine, p: engine.optim.SGD(p, 0.1),
    "momentum": lambda engine, p: engine.optim.SGD(p, 0.1, momentum=0.9),
    "nesterov": lambda engine, p: engine.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "weight decay": lambda engine, p: engine.optim.SGD(p, 0.1, weight_decay=0.1),
    "adam": lambda engine, p: engine.optim.Adam(p, 0.05),
    "adam, weight decay": lambda engine, p: engine.optim.Adam(p, 0.05, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1),
    "adamw": lambda engine, p: engine.optim.AdamW(p, 0.05),
    "amsgrad": lambda engine, p: engine.optim.Adam(p, 0.05, amsgrad=True),
    "rmsprop": lambda engine, p: engine.optim.RMSprop(p, 0.01, momentum=0.5, weight_decay=0.01),
    "adagrad": lambda engine, p: engine.optim.Adagrad(p, 0.1),
    "lion": lambda engine, p: engine.optim.Lion(p, 0.01, weight_decay=0.1),
}
