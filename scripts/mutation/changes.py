"""What a mutant changes: one operator, number, condition, function or statement of a module."""

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}
COMPARISON: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
FUNCTIONS = {"min": "max", "minimum": "maximum", "any": "all", "rint": "floor", "argmax": "argmin", "floor": "ceil"}
FUNCTIONS |= {other: one for one, other in FUNCTIONS.items() if one != "rint"}
TO_THEIR_ARGUMENT = {"abs", "sign", "ascontiguousarray", "copy"}
Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True)
class Mutant:
    """One change of a module: the line, what it was and is, and the whole tree that has it."""

    line: int
    was: str
    now: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if hasattr(node, "lineno")]
    places = {id(node): number for number, node in enumerate(nodes)}
    for node in sorted(_counted(tree), key=lambda node: (node.lineno, node.col_offset)):
        for change in _changes(node):
            whole = deepcopy(tree)
            copy = [each for each in ast.walk(whole) if hasattr(each, "lineno")][places[id(node)]]
            changed = ast.copy_location(change(copy), copy)
            ast.fix_missing_locations(_Replaced(copy, changed).visit(whole))
            was, now = ast.unparse(node), ast.unparse(changed)
            if was != now:
                yield Mutant(node.lineno, was, now, whole)


class _Replaced(ast.NodeTransformer):
    """A tree with another node in the place of one."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _counted(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Statements and expressions that compute: no annotation, decorator, docstring, or text of an error."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name in (
            "annotation",
            "returns",
            "decorator_list",
            "bases",
            "keywords" if isinstance(node, ast.ClassDef) else "",
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_text(child):
                yield from _counted(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(node: ast.expr | ast.stmt) -> Iterator[Change]:
    match node:
        case ast.BinOp() | ast.AugAssign() if type(node.op) in BINARY:
            yield _operator
        case ast.Compare():
            yield from (_comparison(n) for n, op in enumerate(node.ops) if type(op) in COMPARISON)
        case ast.BoolOp():
            yield _and_or
        case ast.UnaryOp():
            yield _operand
        case ast.Constant(value=bool()):
            yield _negated_constant
        case ast.Constant(value=int() | float()):
            yield _one_more
        case ast.If() | ast.IfExp() | ast.While() if not isinstance(node.test, ast.Compare | ast.Constant):
            yield _negated_test
        case ast.Call():
            if _called(node) in FUNCTIONS:
                yield _other_function
            if _called(node) in TO_THEIR_ARGUMENT:
                yield _argument
    if _is_effect(node):
        yield lambda _: ast.Pass()


def _is_effect(node: ast.AST) -> bool:
    """Statements that a function can run without: calls, and writing into something that exists."""
    if isinstance(node, ast.AugAssign):
        return True
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Subscript) for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _operator(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BinOp | ast.AugAssign)
    changed = deepcopy(node)
    changed.op = BINARY[type(node.op)]()
    return changed


def _comparison(number: int) -> Change:
    def changed(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Compare)
        copy = deepcopy(node)
        copy.ops[number] = COMPARISON[type(node.ops[number])]()
        return copy

    return changed


def _and_or(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.BoolOp)
    changed = deepcopy(node)
    changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return changed


def _operand(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.UnaryOp)
    return deepcopy(node.operand)


def _negated_constant(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant)
    return ast.Constant(not node.value)


def _one_more(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    return ast.Constant(node.value + 1)


def _negated_test(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.If | ast.IfExp | ast.While)
    changed = deepcopy(node)
    changed.test = ast.UnaryOp(ast.Not(), changed.test)
    return changed


def _other_function(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Call)
    changed = deepcopy(node)
    if isinstance(changed.func, ast.Attribute):
        changed.func.attr = FUNCTIONS[changed.func.attr]
    elif isinstance(changed.func, ast.Name):
        changed.func.id = FUNCTIONS[changed.func.id]
    return changed


def _argument(node: ast.AST) -> ast.AST:
    assert isinstance(node, ast.Call)
    if node.args:
        return deepcopy(node.args[0])
    assert isinstance(node.func, ast.Attribute)
    return deepcopy(node.func.value)
