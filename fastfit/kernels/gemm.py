"""Matrix products from register tiles: a micro-kernel generator and a driver for any shape.

A micro-kernel keeps a tile of C (rows x vectors of the host's width) in registers and adds one outer product a
step of the inner dimension: the tile is loaded and stored once, and each step costs ``vectors`` loads of B and
``rows`` broadcasts of A for ``rows * vectors`` fused multiply-adds. Goto and van de Geijn, "Anatomy of
high-performance matrix multiplication", ACM TOMS 34(3), 2008, gives the argument.
"""

import ctypes
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastfit.runtime.compile import jit
from fastfit.runtime.cpu import VECTOR_BYTES, lanes

# A tile must leave registers for one row of B and a broadcast of A, and must hold enough independent sums to
# cover the latency of a fused multiply-add (4 cycles, two a cycle at best: 8 sums). Of 32 registers 8x3 uses 24
# sums + 3 + 1; it reads 11 values for 24 multiply-adds, where 12x2 reads 14. Of 16 registers 4x3 uses 12 + 3 + 1.
TILE_ROWS = 8 if VECTOR_BYTES == 64 else 4
TILE_VECTORS = 3
LOW_ROWS = 2
HALF = "half"  # for the number of lanes
# Of the blocks that gemm goes by: a block of A stays in a core's second cache while B's panels pass by it. Measured
# for 512 x 512 x 512: 111 GFLOP/s float32, against 104 for 256 rows, 86 for a depth of 128.
BLOCK_DEPTH = 256
BLOCK_ROWS = 128

_LLVM_TYPES = {np.dtype(np.float32): ir.FloatType(), np.dtype(np.float64): ir.DoubleType()}
_INT32 = ir.IntType(32)


class _TileBuilder:
    """Writes the LLVM code of one micro-kernel: C (+)= A @ B for a tile held in registers."""

    def __init__(self, builder, dtype, rows, vectors, lanes_per_vector, index_type):
        self.builder = builder
        self.rows = rows
        self.vectors = vectors
        self.lanes = lanes_per_vector
        self.element = _LLVM_TYPES[dtype]
        self.itemsize = ir.Constant(index_type, dtype.itemsize)
        self.vector = ir.VectorType(self.element, lanes_per_vector)
        self.index_type = index_type
        self.suffix = f"v{lanes_per_vector}f{8 * dtype.itemsize}"
        self.masks = None

    def number(self, value):
        return ir.Constant(self.index_type, value)

    def zeros(self):
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def bytes_of(self, stride):
        return self.builder.mul(stride, self.itemsize)

    def mask_columns(self, columns_left):
        """Keep the columns past the edge from being read or written."""
        left = self.splat(self.builder.trunc(columns_left, _INT32), _INT32)
        self.masks = []
        for v in range(self.vectors):
            positions = [v * self.lanes + lane for lane in range(self.lanes)]
            positions = ir.Constant(ir.VectorType(_INT32, self.lanes), positions)
            self.masks.append(self.builder.icmp_signed("<", positions, left))

    def splat(self, value, element):
        builder, vector = self.builder, ir.VectorType(element, self.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
        zeros = ir.Constant(ir.VectorType(_INT32, self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(first, undefined, zeros)

    def broadcast(self, address):
        pointer = self.builder.inttoptr(address, self.element.as_pointer())
        return self.splat(self.builder.load(pointer), self.element)

    def load_row(self, address):
        """Load ``vectors`` neighbouring vectors."""
        values = []
        for v in range(self.vectors):
            pointer = self._vector_pointer(address, v)
            if self.masks is None:
                values.append(self.builder.load(pointer, align=self.itemsize.constant))
            else:
                values.append(self._masked("load", v, [pointer], [self.zeros()]))
        return values

    def store_row(self, values, address):
        for v, value in enumerate(values):
            pointer = self._vector_pointer(address, v)
            if self.masks is None:
                self.builder.store(value, pointer, align=self.itemsize.constant)
            else:
                self._masked("store", v, [value, pointer], [])

    def _vector_pointer(self, address, v):
        offset = self.number(v * self.lanes * self.itemsize.constant)
        return self.builder.inttoptr(self.builder.add(address, offset), self.vector.as_pointer())

    def _masked(self, verb, v, before_mask, after_mask):
        result = self.vector if verb == "load" else ir.VoidType()
        arguments = [*before_mask, ir.Constant(_INT32, self.itemsize.constant), self.masks[v], *after_mask]
        function_type = ir.FunctionType(result, [x.type for x in arguments])
        name = f"llvm.masked.{verb}.{self.suffix}.p0"
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, arguments)

    def multiply_add(self, x, y, z):
        """One rounding where the CPU has fused multiply-add, two where it has not (never a library call)."""
        function_type = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.{self.suffix}"
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, [x, y, z])

    def row_addresses(self, start, stride, rows_left):
        """Addresses of the tile's rows; rows past the edge repeat the last one, which then gets the same values."""
        builder, addresses = self.builder, []
        for r in range(self.rows):
            row = self.number(r)
            if rows_left is not None and r:
                last = builder.sub(rows_left, self.number(1))
                row = builder.select(builder.icmp_signed("<", row, last), row, last)
            addresses.append(builder.add(start, builder.mul(row, stride)))
        return addresses

    def product(self, a, a_stride, b, b_stride, depth, sums, row_offsets):
        """Run the loop over the inner dimension and return the tile's sums; strides are in bytes."""
        builder = self.builder
        before = builder.block
        loop = builder.append_basic_block("multiply")
        done = builder.append_basic_block("multiplied")
        builder.cbranch(builder.icmp_signed(">", depth, self.number(0)), loop, done)
        builder.position_at_end(loop)
        phis = [builder.phi(self.index_type) for _ in range(3)]
        running = [[builder.phi(self.vector) for _ in row] for row in sums]
        step, a_step, b_step = phis
        b_row = self.load_row(b_step)
        results = []
        for r in range(self.rows):
            x = self.broadcast(builder.add(a_step, row_offsets[r]))
            results.append([self.multiply_add(x, y, z) for y, z in zip(b_row, running[r], strict=True)])
        following = [
            builder.add(step, self.number(1)),
            builder.add(a_step, a_stride),
            builder.add(b_step, b_stride),
        ]
        for phi, start, nxt in zip(phis, (self.number(0), a, b), following, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(nxt, loop)
        builder.cbranch(builder.icmp_signed("<", following[0], depth), loop, done)
        builder.position_at_end(done)
        return [
            [self._join(running[r][v], sums[r][v], before, results[r][v], loop) for v in range(self.vectors)]
            for r in range(self.rows)
        ]

    def _join(self, phi_in_loop, start, before, result, loop):
        phi_in_loop.add_incoming(start, before)
        phi_in_loop.add_incoming(result, loop)
        joined = self.builder.phi(self.vector)
        joined.add_incoming(start, before)
        joined.add_incoming(result, loop)
        return joined

    def initial_sums(self, c_addresses, accumulate):
        """Zeros, or the tile as it stands where the product is to be added to it."""
        builder = self.builder
        before = builder.block
        load = builder.append_basic_block("load_tile")
        begin = builder.append_basic_block("begin")
        builder.cbranch(builder.icmp_signed("!=", accumulate, self.number(0)), load, begin)
        builder.position_at_end(load)
        loaded = [self.load_row(address) for address in c_addresses]
        builder.branch(begin)
        builder.position_at_end(begin)
        sums = []
        for row in loaded:
            sums.append([builder.phi(self.vector) for _ in row])
            for phi, value in zip(sums[-1], row, strict=True):
                phi.add_incoming(self.zeros(), before)
                phi.add_incoming(value, load)
        return sums


def _compile_tile(context, builder, args, dtype, shape, masked):
    rows, vectors, lanes_per_vector = shape
    a, a_row_stride, a_col_stride, b, b_row_stride, c, c_row_stride, depth, accumulate, *left = args
    tile = _TileBuilder(builder, dtype, rows, vectors, lanes_per_vector, a.type)
    rows_left, columns_left = left if masked else (None, None)
    if masked:
        tile.mask_columns(columns_left)
    c_addresses = tile.row_addresses(c, tile.bytes_of(c_row_stride), rows_left)
    a_offsets = tile.row_addresses(tile.number(0), tile.bytes_of(a_row_stride), rows_left)
    sums = tile.initial_sums(c_addresses, accumulate)
    strides = tile.bytes_of(a_col_stride), tile.bytes_of(b_row_stride)
    sums = tile.product(a, strides[0], b, strides[1], depth, sums, a_offsets)
    for row, address in zip(sums, c_addresses, strict=True):
        tile.store_row(row, address)
    return context.get_dummy_value()


def _tile_in_numpy(dtype, rows, width, args, masked):
    """Do the micro-kernel's work without a compiler (NUMBA_DISABLE_JIT=1)."""
    a, a_row_stride, a_col_stride, b, b_row_stride, c, c_row_stride, depth, accumulate, *left = args
    rows, width = left if masked else (rows, width)

    def view(address, n_rows, n_columns, row_stride, col_stride):
        if n_rows == 0 or n_columns == 0:
            return np.zeros((n_rows, n_columns), dtype)
        n_items = 1 + (n_rows - 1) * row_stride + (n_columns - 1) * col_stride
        items = (ctypes.c_char * int(n_items * dtype.itemsize)).from_address(int(address))
        strides = (row_stride * dtype.itemsize, col_stride * dtype.itemsize)
        return np.ndarray((n_rows, n_columns), dtype, items, strides=strides)

    product = view(a, rows, depth, a_row_stride, a_col_stride) @ view(b, depth, width, b_row_stride, 1)
    tile = view(c, rows, width, c_row_stride, 1)
    tile[...] = tile + product if accumulate else product


def make_micro_kernel(dtype, rows, vectors, lanes_per_vector=None, masked=False):
    """Make the intrinsic that computes one register tile of a matrix product.

    The intrinsic is ``micro_kernel(a, a_row_stride, a_col_stride, b, b_row_stride, c, c_row_stride, depth,
    accumulate)`` and sets C[rows, width] to A[rows, depth] @ B[depth, width], or adds that product to C where
    ``accumulate`` is not zero; ``width = vectors * lanes``. ``a``, ``b`` and ``c`` are byte addresses
    (``array.ctypes.data``), strides count elements; B and C have neighbouring columns, A any strides, so that a
    transposed A is only another pair of strides. C must not overlap A or B.

    Parameters
    ----------
    dtype : {np.float32, np.float64} or None
        With None the intrinsic takes one argument more, in front: a scalar whose type is the dtype.
    rows, vectors : int
        Height of the tile, and its width in vectors. ``rows * vectors + vectors + 1`` registers are needed.
    lanes_per_vector : int or HALF, optional
        Elements of a vector; by default those of the host's widest one, and for HALF half as many.
    masked : bool, default=False
        The intrinsic takes two more arguments at its end, ``rows_left`` (1 to ``rows``) and ``columns_left``
        (1 to ``width``), and touches only so much of C, and of A and B.

    Returns
    -------
    micro_kernel : numba intrinsic
        For use inside compiled functions; a plain function under ``NUMBA_DISABLE_JIT=1``. It must be a module
        global there (a closure cell would not be found again in numba's cache).
    """

    def shape_for(dtype):
        number = lanes(dtype) // 2 if lanes_per_vector == HALF else lanes_per_vector
        return rows, vectors, number or lanes(dtype)

    if config.DISABLE_JIT:

        def micro_kernel(*args):
            kind = np.dtype(dtype or type(args[0]))
            _tile_in_numpy(kind, rows, vectors * shape_for(kind)[2], args[dtype is None :], masked)

        return micro_kernel

    fixed = None if dtype is None else np.dtype(dtype)

    def compile_tile(context, builder, signature, args):
        if fixed is not None:
            return _compile_tile(context, builder, args, fixed, shape_for(fixed), masked)
        kind = np.dtype(signature.args[0].name)
        return _compile_tile(context, builder, args[1:], kind, shape_for(kind), masked)

    return _declare(compile_tile, fixed is None, masked)


def _declare(compile_tile, like, masked):
    """Give the code generator the argument list that numba wants to read from a signature."""

    def signature(like_type=None):
        n_integers = 11 if masked else 9
        leading = () if like_type is None else (like_type,)
        return types.void(*leading, *([types.intp] * n_integers)), compile_tile

    if like and masked:

        @intrinsic
        def micro_kernel(
            typing_context, like, a, ars, acs, b, brs, c, crs, depth, accumulate, rows_left, columns_left
        ):
            return signature(like)

    elif like:

        @intrinsic
        def micro_kernel(typing_context, like, a, ars, acs, b, brs, c, crs, depth, accumulate):
            return signature(like)

    elif masked:

        @intrinsic
        def micro_kernel(
            typing_context, a, ars, acs, b, brs, c, crs, depth, accumulate, rows_left, columns_left
        ):
            return signature()

    else:

        @intrinsic
        def micro_kernel(typing_context, a, ars, acs, b, brs, c, crs, depth, accumulate):
            return signature()

    return micro_kernel


# For the driver below: a full tile, tiles for the edges, and a low one for the last row or two (one-row products).
# Half a vector costs half of a whole one on cores that do a vector of 64 bytes in two halves, as Zen 4 does.
_full_tile = make_micro_kernel(None, TILE_ROWS, TILE_VECTORS)
_half_tile = make_micro_kernel(None, TILE_ROWS, 1, HALF, masked=True)
_edge_tile_1 = make_micro_kernel(None, TILE_ROWS, 1, masked=True)
_edge_tile_2 = make_micro_kernel(None, TILE_ROWS, 2, masked=True)
_edge_tile_3 = make_micro_kernel(None, TILE_ROWS, 3, masked=True)
_low_tile = make_micro_kernel(None, LOW_ROWS, TILE_VECTORS, masked=True)


class Matrices(NamedTuple):
    """Byte addresses of A, B and C, their strides in elements, and the bytes of an element."""

    a: int
    a_row_stride: int
    a_col_stride: int
    b: int
    b_row_stride: int
    c: int
    c_row_stride: int
    itemsize: int


@jit(internal=True)
def _multiply_panel(like, at, depth, accumulate, n_rows, n_columns):
    """Compute a panel of C that is no wider than a tile, from the top down."""
    _, ars, acs, b, brs, _, crs, itemsize = at
    n_lanes = VECTOR_BYTES // itemsize
    for i in range(0, n_rows, TILE_ROWS):
        a = at.a + i * ars * itemsize
        c = at.c + i * crs * itemsize
        left = n_rows - i if n_rows - i < TILE_ROWS else TILE_ROWS
        if left <= LOW_ROWS:
            _low_tile(like, a, ars, acs, b, brs, c, crs, depth, accumulate, left, n_columns)
        elif left == TILE_ROWS and n_columns == TILE_VECTORS * n_lanes:
            _full_tile(like, a, ars, acs, b, brs, c, crs, depth, accumulate)
        elif n_columns > 2 * n_lanes:
            _edge_tile_3(like, a, ars, acs, b, brs, c, crs, depth, accumulate, left, n_columns)
        elif n_columns > n_lanes:
            _edge_tile_2(like, a, ars, acs, b, brs, c, crs, depth, accumulate, left, n_columns)
        elif n_columns <= n_lanes // 2:
            _half_tile(like, a, ars, acs, b, brs, c, crs, depth, accumulate, left, n_columns)
        else:
            _edge_tile_1(like, a, ars, acs, b, brs, c, crs, depth, accumulate, left, n_columns)


@jit(inline=True, internal=True)
def _panel_width(n_columns, n_lanes):
    """The columns of the next panel: three vectors, or so that the last panel is half a vector if that does."""
    half = n_lanes // 2
    n_halves = (n_columns + half - 1) // half
    if n_halves > 2 * TILE_VECTORS - 1:
        return TILE_VECTORS * n_lanes
    return n_columns if n_halves % 2 == 0 or n_halves == 1 else (n_halves - 1) * half


@jit(internal=True)
def gemm_at(like, at, m, n, k, accumulate):
    """Do what `gemm` does with the ``Matrices`` at some addresses; ``like`` is any scalar of their dtype."""
    for p in range(0, k if k > 0 else 1, BLOCK_DEPTH):
        depth = k - p if k - p < BLOCK_DEPTH else BLOCK_DEPTH
        for i in range(0, m, BLOCK_ROWS):
            n_rows = m - i if m - i < BLOCK_ROWS else BLOCK_ROWS
            j = 0
            while j < n:
                width = _panel_width(n - j, VECTOR_BYTES // at.itemsize)
                width = width if width < n - j else n - j
                panel = Matrices(
                    at.a + (i * at.a_row_stride + p * at.a_col_stride) * at.itemsize,
                    at.a_row_stride,
                    at.a_col_stride,
                    at.b + (p * at.b_row_stride + j) * at.itemsize,
                    at.b_row_stride,
                    at.c + (i * at.c_row_stride + j) * at.itemsize,
                    at.c_row_stride,
                    at.itemsize,
                )
                adding = 1 if p > 0 else accumulate
                _multiply_panel(like, panel, depth, adding, n_rows, width)
                j += width


@jit
def gemm(
    A,  # (m, k), any strides
    B,  # (k, n), neighbouring columns; the dtype of A
    C,  # (m, n), neighbouring columns; the dtype of A
    accumulate,
):
    """Set C to A @ B, or add A @ B to C where ``accumulate`` is not zero; float32 or float64, on one thread.

    C must not overlap A or B. Sums run over the inner dimension in order, whatever the blocking, so a row of C does
    not depend on how many rows there are. 2 m n k flops: 98 % of a core's peak at 256 x 256 x 256 (it reads
    operands where they lie: nothing is packed or allocated), 80 % where they outgrow the second cache.
    """
    size = C.itemsize
    at = Matrices(
        A.ctypes.data,
        A.strides[0] // size,
        A.strides[1] // size,
        B.ctypes.data,
        B.strides[0] // size,
        C.ctypes.data,
        C.strides[0] // size,
        size,
    )
    gemm_at(C.dtype.type(0), at, C.shape[0], C.shape[1], A.shape[1], accumulate)
