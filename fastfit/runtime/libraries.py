"""What Numba's compiler does with the code of a kernel: machine code of a whole, or only source for other kernels.

Left to itself, Numba optimises every function with all that it calls and turns it into machine code before a caller is
looked at, where the same happens once more: a part six calls deep is optimised six times over. Here a part is
handed as it is to whoever calls it, and one optimisation of the whole does the work of all. Of what is left, most is
Numba's reading of the source, in Python; of that, what kernels never need is left out (`fastfit.runtime.passes`).
"""

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase

from fastfit.runtime.passes import kernel_passes


class _Library(JITCodeLibrary):
    """Code of kernels, whose functions are optimised together with the whole or not at all."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout


class WholeLibrary(_Library):
    """The code of a kernel and of all its parts, optimised once.

    Numba optimises twice, so that between the two it can take out the counting of references, of which kernels have
    none.
    """

    def finalize(self):
        """Link what parts call, and what that calls, too; then optimise the whole."""
        seen = set(self._linking_libraries)
        for library in self._linking_libraries:
            # It grows while it is gone through.
            further = [part for part in library._linking_libraries if part not in seen]
            self._linking_libraries += further
            seen.update(further)
        super().finalize()

    def _optimize_final_module(self):
        # Parts are known by LLVM's names, which are made of the source's and a number that is unique in one process
        # only. Where code of several processes meets, two results of a factory could share one, and the kernel that is
        # loaded second would call the parts of the first. So nobody else gets to see them.
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage is Linkage.linkonce_odr:
                function.linkage = Linkage.internal
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _NoMachineCode:
    """Stands for the code generator where Numba wants to tell machine code its environment."""

    @staticmethod
    def set_env(env_name, env):
        pass


class PartLibrary(_Library):
    """The code of a part without the parts that it calls, neither optimised nor turned into machine code."""

    @property
    def codegen(self):
        return _NoMachineCode

    def finalize(self):
        """Let every module that this code is linked into have it, and drop it where it is not called."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        self._finalized = True

    def _get_module_for_linking(self):
        self._ensure_finalized()
        return self._final_module

    def get_pointer_to_function(self, name):
        """Return the address of no function."""
        self._ensure_finalized()
        return 0


class WholeCompiler(CompilerBase):
    """Numba's compiler, which puts its code into a `WholeLibrary`."""

    library_class = WholeLibrary

    def define_pipelines(self):
        """Return the passes that a kernel goes through."""
        state = self.state
        if state.library is None:
            state.library = self.library_class(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
        return [kernel_passes(state)]


class PartCompiler(WholeCompiler):
    """Numba's compiler, which puts its code into a `PartLibrary`."""

    library_class = PartLibrary
