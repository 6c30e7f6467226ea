"""What Numba's compiler does with the code of a kernel: machine code of a whole, or only source for other kernels.

Left to itself, Numba optimises every function with all that it calls and turns it into machine code before a caller is
looked at, where the same happens once more: a part six calls deep is optimised six times over. Here a part is
handed as it is to whoever calls it, and one optimisation of the whole does the work of all. That halves the time that a
tree's kernel takes to compile; of what is left, nine tenths are Numba's reading of the source.
"""

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class WholeLibrary(JITCodeLibrary):
    """The code of a kernel and of all its parts, optimised once.

    Numba optimises twice, so that between the two it can take out the counting of references, of which kernels have
    none.
    """

    def _optimize_final_module(self):
        # Parts are known by LLVM's names, which are made of the source's and a number that is unique in one process
        # only. Where code of several processes meets, two results of a factory could share one, and the kernel that is
        # loaded second would call the parts of the first. So nobody else gets to see them.
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage is llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _NoMachineCode:
    """Stands for the code generator where Numba wants to tell machine code its environment."""

    @staticmethod
    def set_env(env_name, env):
        pass


class PartLibrary(JITCodeLibrary):
    """The code of a part, neither optimised nor turned into machine code."""

    @property
    def codegen(self):
        return _NoMachineCode

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        """Return the address of no function."""
        self._ensure_finalized()
        return 0


class WholeCompiler(CompilerBase):
    """Numba's compiler, which puts its code into a `WholeLibrary`."""

    library_class = WholeLibrary

    def define_pipelines(self):
        """Return Numba's own passes."""
        state = self.state
        if state.library is None:
            state.library = self.library_class(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
        return [DefaultPassBuilder.define_nopython_pipeline(state)]


class PartCompiler(WholeCompiler):
    """Numba's compiler, which puts its code into a `PartLibrary`."""

    library_class = PartLibrary
