"""How a tree keeps the categories that its nodes send left: as words of 32 bits.

Of the categories of a node's split the set of those is kept that go to the smaller child; all others, those included
that are absent from the node, go to the larger. A set is a first word and, whichever is shorter, the codes of its
categories, ascending, or a bit for each: bit code % 32 of word code // 32. So the sets of a tree that was grown on n
samples take about n log2(n) / 2 words at most, for however many categories. Missing values have the code behind the
categories.

Nothing here needs Numba, so that models are read from pickles without it.
"""

# Bits of the first word, below the number of words that follow.
SET_IS_LIST, SET_OTHERS_LEFT = 1, 2
SET_SIZE_SHIFT = 2
# Where the sets of a tree begin: 0 is the place of none.
FIRST_SET = 1
