"""The passes of Numba's compiler that a kernel goes through: all but those for what no kernel has.

Kernels have no closures, no ``with``, no list comprehensions, no expressions of whole arrays, no references to count.
"""

import contextlib
from typing import ClassVar

from numba.core import typed_passes, types, untyped_passes
from numba.core.cgutils import alloca_once
from numba.core.compiler import DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.ir_utils import enforce_no_dels, enforce_no_phis
from numba.core.lowering import Lower
from numba.core.postproc import PostProcessor

NEEDLESS = {
    untyped_passes.WithLifting,
    untyped_passes.InlineClosureLikes,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.InlineOverloads,
    typed_passes.NopythonRewrites,
    typed_passes.DumpParforDiagnostics,
}


class _RememberingContext:
    """A typing context that resolves a call of a function with the same types once; all else is the context's own.

    Types of a function's variables are found by going through its statements until nothing changes, and every time
    Numba tries all that a ``+`` could mean.
    """

    known: ClassVar[dict] = {}

    def __init__(self, context):
        self.context = context

    def __getattr__(self, name):
        return getattr(self.context, name)

    def resolve_function_type(self, func, args, kws):
        """Return the signature of a call."""
        if kws or not isinstance(func, types.Function):
            return self.context.resolve_function_type(func, args, kws)
        key = func, args
        signature = self.known.get(key)
        if signature is None:
            signature = self.context.resolve_function_type(func, args, kws)
            if signature is not None:
                self.known[key] = signature
        return signature


@contextlib.contextmanager
def _loaded(*contexts):
    """Keep Numba from importing its own modules anew, which it does for each function that it has not met before."""
    outer = ["load_additional_registries" in vars(context) for context in contexts]
    for context in contexts:
        context.load_additional_registries = _do_nothing
    try:
        yield
    finally:
        for context, was_loaded in zip(contexts, outer, strict=True):
            if not was_loaded:
                del context.load_additional_registries


def _do_nothing():
    pass


@register_pass(mutates_CFG=True, analysis_only=False)
class KernelTypeInference(typed_passes.NopythonTypeInference):
    """Numba's NopythonTypeInference, with a memory."""

    _name = "kernel_type_inference"

    def run_pass(self, state):
        """Find the type of each variable."""
        context = state.typingctx
        state.typingctx = _RememberingContext(context)
        try:
            with _loaded(context, state.targetctx):
                return super().run_pass(state)
        finally:
            state.typingctx = context


class KernelLower(Lower):
    """Numba's step from typed statements to LLVM's language, without debug information and counts of references."""

    def alloca_lltype(self, name, lltype, datamodel=None):
        """Return where a variable lives."""
        return alloca_once(self.builder, lltype, name=name, zfill=False)

    def storevar(self, value, name, argidx=None):
        """Set a variable."""
        self._alloca_var(name, self.typeof(name))
        if name in self._singly_assigned_vars and not self._disable_sroa_like_opt:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))


@register_pass(mutates_CFG=True, analysis_only=False)
class KernelLowering(typed_passes.BaseNativeLowering):
    """Numba's NativeLowering, by a `KernelLower`."""

    _name = "kernel_lowering"

    @property
    def lowering_class(self):
        """The class that does it."""
        return KernelLower


@register_pass(mutates_CFG=False, analysis_only=True)
class KernelLegalization(typed_passes.IRLegalization):
    """Numba's check of statements, without its step that says where each variable is used for the last time."""

    _name = "kernel_legalization"

    def run_pass(self, state):
        """Check the statements before they are lowered."""
        enforce_no_phis(state.func_ir)
        enforce_no_dels(state.func_ir)
        PostProcessor(state.func_ir).run(emit_dels=False)
        return True


OWN = {
    typed_passes.NopythonTypeInference: KernelTypeInference,
    typed_passes.NativeLowering: KernelLowering,
    typed_passes.IRLegalization: KernelLegalization,
}


def kernel_passes(state):
    """Return Numba's passes without those that do nothing to a kernel."""
    passes = PassManager("kernel")
    for pass_class, description in DefaultPassBuilder.define_nopython_pipeline(state).passes:
        if pass_class not in NEEDLESS:
            passes.add_pass(OWN.get(pass_class, pass_class), description)
    passes.finalize()
    return passes
