"""Training steps as people write them, whose values come from somewhere outside: places that hold a value, kinds of
value, and uses of it. Each case is a program as text, with a value before and one after."""

from typing import NamedTuple

import numpy as np

import vector
from vector import nn, optim

HEAD = """
import collections, contextvars, dataclasses, functools, threading, types
import numpy as np
import vector

class Holder:
    pass
"""

# how a place is made with the value `old`, how a step reads it, and how it is given the value `new`
HOLDERS = {
    "global": ("held = old", "held", "held = new"),
    "global of a helper": ("held = old\ndef read():\n    return held", "read()", "held = new"),
    "global of a lambda": ("held = old\nread = lambda: held", "read()", "held = new"),
    "global of an inner function": ("held = old", "(lambda: held)()", "held = new"),
    "global by globals()": ("held = old", "globals()['held']", "held = new"),
    "closure": (
        "def outer():\n    held = old\n    def read():\n        return held\n"
        "    def write(x):\n        nonlocal held\n        held = x\n    return read, write\nread, write = outer()",
        "read()",
        "write(new)",
    ),
    "closure in a closure": (
        "def outer():\n    held = old\n    def read():\n        return (lambda: held)()\n"
        "    def write(x):\n        nonlocal held\n        held = x\n    return (lambda: read()), write\n"
        "read, write = outer()",
        "read()",
        "write(new)",
    ),
    "default": ("def read(k=old):\n    return k", "read()", "read.__defaults__ = (new,)"),
    "default of a keyword": ("def read(*, k=old):\n    return k", "read()", "read.__kwdefaults__['k'] = new"),
    "attribute": ("a = Holder(); a.held = old", "a.held", "a.held = new"),
    "attribute of an attribute": ("a = Holder(); a.b = Holder(); a.b.held = old", "a.b.held", "a.b.held = new"),
    "attribute by its dict": ("a = Holder(); a.held = old", "a.held", "a.__dict__ = {'held': new}"),
    "attribute by a text": ("a = Holder(); a.held = old", "getattr(a, 'held')", "setattr(a, 'held', new)"),
    "attribute by a made-up text": ("a = Holder(); a.held = old", "getattr(a, 'he' + 'ld')", "a.held = new"),
    "attribute by vars": ("a = Holder(); a.held = old", "vars(a)['held']", "a.held = new"),
    "attribute that hides the class's": ("class A:\n    held = old\na = A()", "a.held", "a.held = new"),
    "slot": ("class A:\n    __slots__ = ('held',)\na = A(); a.held = old", "a.held", "a.held = new"),
    "slot of a base": (
        "class A:\n    __slots__ = ('held',)\nclass B(A):\n    __slots__ = ()\na = B(); a.held = old",
        "a.held",
        "a.held = new",
    ),
    "class attribute": ("class A:\n    held = old\na = A()", "a.held", "A.held = new"),
    "class attribute by the class": ("class A:\n    held = old", "A.held", "A.held = new"),
    "class attribute of a base": ("class A:\n    held = old\nclass B(A):\n    pass\na = B()", "a.held", "A.held = new"),
    "attribute of a metaclass": (
        "class M(type):\n    held = old\nclass A(metaclass=M):\n    pass",
        "A.held",
        "M.held = new",
    ),
    "function attribute": ("def f():\n    return f.held\nf.held = old", "f()", "f.held = new"),
    "namespace": ("a = types.SimpleNamespace(held=old)", "a.held", "a.held = new"),
    "dataclass": (
        "@dataclasses.dataclass\nclass A:\n    held: object\na = A(old)",
        "a.held",
        "a.held = new",
    ),
    "named tuple": (
        "A = collections.namedtuple('A', 'held other')\na = A(old, 1)",
        "a.held",
        "a = a._replace(held=new)",
    ),
    "own module": (
        "mine = types.ModuleType('mine'); mine.held = old",
        "mine.held",
        "mine.held = new",
    ),
    "property": (
        "class A:\n    @property\n    def k(self):\n        return self.held\na = A(); a.held = old",
        "a.k",
        "a.held = new",
    ),
    "method": (
        "class A:\n    def k(self):\n        return self.held\na = A(); a.held = old",
        "a.k()",
        "a.held = new",
    ),
    "bound method": (
        "class A:\n    def k(self):\n        return self.held\na = A(); a.held = old\nread = a.k",
        "read()",
        "a.held = new",
    ),
    "class method": (
        "class A:\n    held = old\n    @classmethod\n    def k(cls):\n        return cls.held",
        "A.k()",
        "A.held = new",
    ),
    "method replaced": (
        "class A:\n    def k(self):\n        return old\na = A()",
        "a.k()",
        "A.k = lambda self: new",
    ),
    "call": (
        "class A:\n    def __call__(self):\n        return self.held\na = A(); a.held = old",
        "a()",
        "a.held = new",
    ),
    "item by a method": (
        "class A:\n    def __getitem__(self, key):\n        return self.held\na = A(); a.held = old",
        "a[0]",
        "a.held = new",
    ),
    "attribute made up": (
        "class A:\n    def __getattr__(self, name):\n        return self.__dict__['parts'][name]\n"
        "a = A(); a.parts = {'held': old}",
        "a.held",
        "a.parts['held'] = new",
    ),
    "descriptor": (
        "class D:\n    def __get__(self, a, kind):\n        return self.held\nclass A:\n    k = D()\n"
        "a = A(); vars(A)['k'].held = old",
        "a.k",
        "vars(A)['k'].held = new",
    ),
    "dict": ("a = {'held': old}", "a['held']", "a['held'] = new"),
    "dict in a list": ("a = [{'held': old}]", "a[0]['held']", "a[0]['held'] = new"),
    "list": ("a = [1, old]", "a[1]", "a[1] = new"),
    "list in a tuple": ("a = (1, [old])", "a[1][0]", "a[1][0] = new"),
    "longer list": ("a = [old]", "a[-1]", "a.append(new)"),
    "long list": ("a = [old] * 1500", "a[700]", "a[700] = new"),
    "deque": ("a = collections.deque([old])", "a[0]", "a[0] = new"),
    "default dict": ("a = collections.defaultdict(int); a['k'] = old", "a['k']", "a['k'] = new"),
    "ordered dict": ("a = collections.OrderedDict(k=old)", "a['k']", "a['k'] = new"),
    "user's dict": ("a = collections.UserDict(k=old)", "a['k']", "a['k'] = new"),
    "chain map": ("b = {'k': old}; a = collections.ChainMap({}, b)", "a['k']", "b['k'] = new"),
    "list of one's own": ("class A(list):\n    pass\na = A([old])", "a[0]", "a[0] = new"),
    "attribute of a list": ("class A(list):\n    pass\na = A(); a.held = old", "a.held", "a.held = new"),
    "object array": ("a = np.array([None]); a[0] = old", "a[0]", "a[0] = new"),
    "partial": ("read = functools.partial(lambda a: a[0], [old])", "read()", "read.args[0][0] = new"),
    "partial by name": ("read = functools.partial(lambda k: k, k=old)", "read()", "read.keywords['k'] = new"),
    "wrapped": (
        "held = old\ndef twice(f):\n    @functools.wraps(f)\n    def g():\n        return f()\n    return g\n"
        "@twice\ndef read():\n    return held",
        "read()",
        "held = new",
    ),
    "cache": (
        "held = old\n@functools.lru_cache\ndef read():\n    return held",
        "read()",
        "held = new; read.cache_clear()",
    ),
    "context variable": (
        "var = contextvars.ContextVar('var'); var.set(old)",
        "var.get()",
        "var.set(new)",
    ),
    "thread's own": ("a = threading.local(); a.held = old", "a.held", "a.held = new"),
    "generator": (
        "box = [old]\ndef go():\n    while True:\n        yield box[0]\nflow = [go()]",
        "next(flow[0])",
        "box[0] = new",
    ),
    "argument's attribute": ("a = Holder(); a.held = old", "more.held", "a.held = new"),
    "argument's list": ("a = types.SimpleNamespace(held=[old])", "more.held[0]", "a.held[0] = new"),
    "layer": (
        "class A(vector.epoch.Guarded):\n    def __init__(self):\n        self.held = old\na = A()",
        "a.held",
        "a.held = new",
    ),
    "list of a layer": (
        "class A(vector.epoch.Guarded):\n    def __init__(self):\n        self.held = [old]\na = A()",
        "a.held[0]",
        "a.held[0] = new",
    ),
    "class of a layer": (
        "class A(vector.epoch.Guarded):\n    held = old\na = A()",
        "a.held",
        "A.held = new",
    ),
    "another object": ("a = Holder(); a.held = old", "a.held", "a = Holder(); a.held = new"),
}

# values before and after, and what a step makes of one (V) with the loss, the hidden layer h and the batch x
KINDS = {
    "float": ("2.0", "3.0"),
    "whole float": ("1.0", "2.0"),
    "numpy's float": ("np.float64(2.0)", "np.float64(3.0)"),
    "zero": ("0.0", "-0.0"),
    "int": ("1", "2"),
    "bool": ("True", "False"),
    "name": ("'tanh'", "'sigmoid'"),
    "dtype": ("'float32'", "'float64'"),
    "array": ("np.array([1.0, 2.0, 3.0])", "np.array([1.0, 5.0, 3.0])"),
    "array in place": ("np.array([1.0, 2.0, 3.0])", None),
    "places": ("np.array([0, 1])", "np.array([2, 1])"),
    "tensor": ("vector.Tensor([1.0, 2.0, 3.0])", "vector.Tensor([1.0, 5.0, 3.0])"),
    "op": ("vector.tanh", "vector.sigmoid"),
    "function": ("(lambda h: h * 2.0)", "(lambda h: h * 3.0)"),
    "tuple": ("(2.0, 1.0)", "(2.0, 4.0)"),
    "shape": ("(3, 4)", "(2, 6)"),
    "None": ("None", "3.0"),
    "list": ("[2.0]", "[2.0, 3.0]"),
    "the same": ("[2.0, 'a'][0]", "float('2')"),
}
NUMBER = [
    "loss = loss * V",
    "loss = loss + V * vector.mean(h)",
    "loss = loss * 2.0 if V > 1.5 else loss",
    "loss = vector.sum(abs(h) ** V)",
    "loss = loss * vector.sum(vector.Tensor([V, 1.0]))",
    "loss = loss * max(V, 0.5)",
    "loss = loss * np.full(1, V)[0]",
    "h = vector.clip(h, -V - 0.1, V + 0.1)\n    loss = vector.sum(h)",
]
ARRAY = [
    "loss = loss * vector.sum(vector.Tensor(V))",
    "loss = vector.sum(h * V)",
    "loss = loss * float(np.sum(V))",
    "loss = loss * 2.0 if V[1] > 3.0 else loss",
    "loss = vector.sum(h * (V * 2.0 + 1.0))",
]
USES = {
    "float": NUMBER,
    "whole float": [*NUMBER, "for _ in range(int(V)):\n        loss = loss * 1.5"],
    "numpy's float": NUMBER,
    "zero": ["loss = loss * float(np.copysign(1.0, V))", "loss = vector.sum(vector.Tensor(np.copysign(x, V)) * h)"],
    "int": [
        *NUMBER,
        "loss = loss + vector.sum(h[:, V])",
        "for _ in range(V):\n        loss = loss * 1.5",
        "loss = vector.sum(vector.sum(h, axis=V - 1) ** 2.0)",
        "loss = vector.sum(h[V:])",
        "loss = loss * [1.0, 2.0, 3.0][V]",
    ],
    "bool": [
        "loss = loss * 2.0 if V else loss",
        "loss = loss * (1.0 + V)",
        "loss = vector.sum(vector.sum(h, axis=0, keepdims=V) ** 2.0) * (1.0 if V else 2.0)",
        "loss = vector.where(np.full(h.shape, V), h, 2.0 * h).sum()",
        "while V and loss.ndim:\n        loss = vector.sum(loss)\n    loss = vector.sum(loss) * (3.0 if V else 1.0)",
    ],
    "name": [
        "loss = vector.sum(getattr(vector, V)(h))",
        "loss = vector.sum({'tanh': vector.tanh, 'sigmoid': vector.sigmoid}[V](h))",
        "loss = loss * len('{}'.format(V))",
        "loss = loss * 2.0 if V.startswith('s') else loss",
    ],
    "dtype": ["loss = vector.sum(h.astype(V))", "loss = vector.sum(h * np.full(3, 0.1, V))"],
    "array": ARRAY,
    "array in place": ARRAY,
    "places": ["loss = vector.sum(vector.take(h, V))", "loss = vector.sum(h[V])", "loss = vector.sum(h[:, V] ** 2.0)"],
    "tensor": ["loss = vector.sum(h * V)", "loss = loss * vector.sum(V ** 2.0)", "loss = vector.sum(h * V.data)"],
    "op": ["loss = vector.sum(V(h))", "loss = loss * 2.0 if V is vector.tanh else loss"],
    "function": ["loss = vector.sum(V(h))", "loss = vector.sum(functools.reduce(lambda a, f: f(a), [V, V], h))"],
    "tuple": [
        "loss = loss * V[1]",
        "a_, b_ = V\n    loss = loss * b_",
        "loss = loss * sum(V)",
        "loss = loss * max(*V, 3.0)",
    ],
    "shape": ["loss = vector.sum(vector.sum(h.reshape(V), axis=0) ** 2.0)", "loss = loss * np.zeros(V).shape[0]"],
    "None": ["loss = loss if V is None else loss * V", "loss = loss * (V or 2.0)"],
    "list": ["loss = loss * sum(V)", "loss = loss * len(V)", "for k in V:\n        loss = loss * k"],
    "the same": ["loss = loss * V"],
}

STEP = """
w = vector.Tensor(np.linspace(-1.0, 1.0, 9).reshape(3, 3), "w")

def step(x, more=None):
    h = vector.tanh(x @ w)
    loss = vector.sum(h * h)
    {use}
    w.grad = None
    loss.backward()
    w.data -= 0.1 * w.grad
    return loss
"""


class Case(NamedTuple):
    """A program: its value comes from a holder, is of a kind, and has a use."""

    holder: str
    kind: str
    use: str

    def program(self):
        """The step, its parameter, arguments besides the batch, and what changes the value."""
        setup, read, change = HOLDERS[self.holder]
        old, new = KINDS[self.kind]
        space = {"__name__": "users_program"}
        text = f"{HEAD}\nold = {old}\n{setup}\n{STEP.format(use=self.use.replace('V', read))}"
        exec(compile(text, f"<{self.holder}, {self.kind}>", "exec"), space)
        more = (space["a"],) if "more" in read else ()

        def changed():
            if new is None:
                space["old"][1] = 5.0
            else:
                exec(f"new = {new}\n{change}", space)

        return space["step"], space["w"], more, changed


CASES = [Case(holder, kind, use) for kind, uses in USES.items() for use in uses for holder in HOLDERS]


class Special(NamedTuple):
    """A step whose settings are this package's own: as a program, what makes it and what changes it."""

    name: str
    make: object
    change: object

    def program(self):
        """As that of `Case`."""
        model = nn.Sequential(nn.Dense(3, 4, "tanh", seed=0), nn.Dropout(0.25, seed=1), nn.Dense(4, 3, seed=2))
        update = self.make(model.parameters())

        def step(x):
            loss = vector.cross_entropy(model(x), np.arange(len(x)) % 3)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        return step, model.layers[0].weight, (), lambda: self.change(model, update)


def momentum(p):
    return optim.SGD(p, 0.1, momentum=0.9)


def put(place, name, value):
    return lambda model, update: setattr(place(model, update), name, value)


def first(model, update):
    return model.layers[0]


SPECIAL = [
    Special("learning rate", momentum, put(lambda m, u: u, "lr", 0.5)),
    Special("momentum", momentum, put(lambda m, u: u, "momentum", 0.5)),
    Special("nesterov", momentum, put(lambda m, u: u, "nesterov", True)),
    Special("weight decay", momentum, put(lambda m, u: u, "weight_decay", 0.5)),
    Special("betas", lambda p: optim.Adam(p, 0.1), put(lambda m, u: u, "betas", (0.5, 0.9))),
    Special("a tensor's array", momentum, lambda m, u: rebind(m.layers[0].weight)),
    Special("an array in place", momentum, lambda m, u: m.layers[0].weight.data.__imul__(0.5)),
    Special("an array of the optimizer", momentum, lambda m, u: rebind(u.velocity[0])),
    Special(
        "a velocity", momentum, lambda m, u: setattr(u, "velocity", (vector.Tensor(np.ones((3, 4))), *u.velocity[1:]))
    ),
    Special("requires_grad", momentum, put(lambda m, u: m.layers[0].bias, "requires_grad", False)),
    Special("activation", momentum, put(first, "activation", vector.relu)),
    Special("a layer's tensor", momentum, lambda m, u: put(first, "bias", vector.Tensor(np.ones(4)))(m, u)),
    Special("rate", momentum, put(lambda m, u: m.layers[1], "rate", 0.0)),
    Special("layers", momentum, put(lambda m, u: m, "layers", (nn.Dense(3, 3, seed=7),))),
    Special("a generator", momentum, lambda m, u: setattr(m.layers[1], "rng", np.random.default_rng(9))),
]


def rebind(tensor):
    tensor.data = tensor.data * 0.5
