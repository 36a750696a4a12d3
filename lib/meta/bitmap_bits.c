/* SPDX-License-Identifier: MIT */
/* bitmap_bits.c - a large array of bits that threads set without a lock */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bitmap_bits.h"
#include "checked.h"

#define WORD_BITS    64u
#define INDEX_MASK   (QCF_BITS_FANOUT - 1)
#define BITS_IN_LEAF (UINT64_C(1) << QCF_BITS_LEAF_SHIFT)
#define BITS_IN_NODE (UINT64_C(1) << QCF_BITS_NODE_SHIFT)

static uint64_t leaf_index(uint64_t bit)
{
	return (bit >> QCF_BITS_LEAF_SHIFT) & INDEX_MASK;
}

static uint64_t node_index(uint64_t bit)
{
	return bit >> QCF_BITS_NODE_SHIFT;
}

static uint64_t word_index(uint64_t bit)
{
	return (bit & (BITS_IN_LEAF - 1)) / WORD_BITS;
}

void qcf_bits_init(struct qcf_bits *bits, struct qcf_bits_memory *memory)
{
	*bits = (struct qcf_bits){ .memory = memory };
}

/* ---------------------------------------------------------------- memory */

static int charge(struct qcf_bits_memory *memory, uint64_t bytes,
                  struct qcowfmt_error **errp)
{
	uint64_t before = atomic_fetch_add(&memory->used, bytes);

	if (before <= memory->limit && bytes <= memory->limit - before)
		return 0;
	atomic_fetch_sub(&memory->used, bytes);
	return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
	                "what the dirty bitmaps have recorded would take more "
	                "memory than max_metadata_size allows, which is "
	                "%" PRIu64 " bytes: any change of bitmaps stores it, "
	                "and a larger granularity needs less",
	                memory->limit);
}

/* Zeroed memory, counted. */
static int make(struct qcf_bits_memory *memory, size_t size, void **made,
                struct qcowfmt_error **errp)
{
	int ret = charge(memory, size, errp);

	if (ret < 0)
		return ret;
	*made = calloc(1, size);
	if (*made != NULL)
		return 0;
	atomic_fetch_sub(&memory->used, size);
	return qcf_fail_oom(errp);
}

static void unmake(struct qcf_bits_memory *memory, void *made, size_t size)
{
	if (made == NULL)
		return;
	free(made);
	atomic_fetch_sub(&memory->used, size);
}

/* What a slot points to, made if it was empty: into the variable result. */
#define GET_OR_MAKE(bits, slot, result, errp)                            \
	({                                                               \
		int ret_ = 0;                                            \
		*(result) = atomic_load(slot);                           \
		if (*(result) == NULL) {                                 \
			void *made_ = NULL;                              \
			ret_ = make((bits)->memory, sizeof(**(result)),  \
			            &made_, errp);                       \
			if (ret_ == 0 && atomic_compare_exchange_strong( \
						 slot, result, made_))   \
				*(result) = made_;                       \
			else if (ret_ == 0)                              \
				unmake((bits)->memory, made_,            \
				       sizeof(**(result)));              \
		}                                                        \
		ret_;                                                    \
	})

static void free_node(struct qcf_bits *bits, struct qcf_bits_node *node)
{
	for (size_t i = 0; node != NULL && i < QCF_BITS_FANOUT; i++)
		unmake(bits->memory, atomic_load(&node->leaves[i]),
		       sizeof(struct qcf_bits_leaf));
	unmake(bits->memory, node, sizeof(*node));
}

void qcf_bits_fini(struct qcf_bits *bits)
{
	struct qcf_bits_root *root = atomic_load(&bits->root);

	for (size_t i = 0; root != NULL && i < QCF_BITS_FANOUT; i++)
		free_node(bits, atomic_load(&root->nodes[i]));
	unmake(bits->memory, root, sizeof(*root));
	atomic_store(&bits->root, NULL);
}

/* --------------------------------------------------------------- setting */

static int leaf_to_set(struct qcf_bits *bits, uint64_t bit,
                       struct qcf_bits_leaf **leaf, struct qcowfmt_error **errp)
{
	struct qcf_bits_root *root;
	struct qcf_bits_node *node;
	int ret = GET_OR_MAKE(bits, &bits->root, &root, errp);

	if (ret == 0)
		ret = GET_OR_MAKE(bits, &root->nodes[node_index(bit)], &node,
		                  errp);
	if (ret == 0)
		ret = GET_OR_MAKE(bits, &node->leaves[leaf_index(bit)], leaf,
		                  errp);
	return ret;
}

/* Bits that are set already cost no write: writers often come back to the same
 * place. */
static void set_in_word(_Atomic uint64_t *word, uint64_t first, uint64_t count)
{
	uint64_t mask = (UINT64_MAX >> (WORD_BITS - count)) << first;

	if ((atomic_load(word) & mask) != mask)
		atomic_fetch_or(word, mask);
}

static void set_in_leaf(struct qcf_bits_leaf *leaf, uint64_t bit, uint64_t end)
{
	while (bit < end) {
		uint64_t in_word = bit % WORD_BITS;
		uint64_t count = QCF_MIN(end - bit, WORD_BITS - in_word);

		set_in_word(&leaf->words[word_index(bit)], in_word, count);
		bit += count;
	}
}

int qcf_bits_set(struct qcf_bits *bits, uint64_t first, uint64_t count,
                 struct qcowfmt_error **errp)
{
	uint64_t end = first + count;

	while (first < end) {
		uint64_t next = QCF_MIN(end, (first | (BITS_IN_LEAF - 1)) + 1);
		struct qcf_bits_leaf *leaf = NULL;
		int ret = leaf_to_set(bits, first, &leaf, errp);

		if (ret < 0)
			return ret;
		set_in_leaf(leaf, first, next);
		first = next;
	}
	return 0;
}

/* --------------------------------------------------------------- looking */

/* The leaf that holds a bit, or NULL; *next gets the first bit behind what was
 * found to be missing, or behind the leaf. */
static const struct qcf_bits_leaf *find_leaf(const struct qcf_bits *bits,
                                             uint64_t bit, uint64_t *next)
{
	const struct qcf_bits_root *root = atomic_load(&bits->root);
	const struct qcf_bits_node *node;

	*next = QCF_BITS_MAX;
	if (root == NULL || bit >= QCF_BITS_MAX)
		return NULL;
	*next = (bit | (BITS_IN_NODE - 1)) + 1;
	node = atomic_load(&root->nodes[node_index(bit)]);
	if (node == NULL)
		return NULL;
	*next = (bit | (BITS_IN_LEAF - 1)) + 1;
	return atomic_load(&node->leaves[leaf_index(bit)]);
}

static uint64_t next_in_leaf(const struct qcf_bits_leaf *leaf, uint64_t bit,
                             uint64_t end, bool value)
{
	uint64_t flip = value ? 0 : UINT64_MAX;

	while (bit < end) {
		uint64_t word =
			(atomic_load(&leaf->words[word_index(bit)]) ^ flip) >>
			bit % WORD_BITS;

		if (word != 0)
			return QCF_MIN(end,
			               bit + (uint64_t)__builtin_ctzll(word));
		bit = (bit | (WORD_BITS - 1)) + 1;
	}
	return end;
}

static uint64_t find(const struct qcf_bits *bits, uint64_t from, uint64_t end,
                     bool value)
{
	while (from < end) {
		uint64_t next;
		const struct qcf_bits_leaf *leaf = find_leaf(bits, from, &next);
		uint64_t stop = QCF_MIN(end, next);
		uint64_t found = stop;

		if (leaf != NULL)
			found = next_in_leaf(leaf, from, stop, value);
		else if (!value)
			return from;
		if (found < stop)
			return found;
		from = stop;
	}
	return end;
}

uint64_t qcf_bits_next(const struct qcf_bits *bits, uint64_t from, uint64_t end)
{
	return find(bits, from, end, true);
}

uint64_t qcf_bits_next_clear(const struct qcf_bits *bits, uint64_t from,
                             uint64_t end)
{
	return find(bits, from, end, false);
}

static void or_leaf(const struct qcf_bits_leaf *leaf, uint64_t bit,
                    uint64_t end, uint8_t *bytes)
{
	for (; bit < end; bit += 8)
		*bytes++ |=
			(uint8_t)(atomic_load(&leaf->words[word_index(bit)]) >>
		                  bit % WORD_BITS);
}

void qcf_bits_or_into(const struct qcf_bits *bits, uint64_t first,
                      uint64_t count, uint8_t *bytes)
{
	uint64_t end = first + count;
	uint64_t bit = first;

	while (bit < end) {
		uint64_t next;
		const struct qcf_bits_leaf *leaf = find_leaf(bits, bit, &next);
		uint64_t stop = QCF_MIN(end, next);

		if (leaf != NULL)
			or_leaf(leaf, bit, stop, bytes + (bit - first) / 8);
		bit = stop;
	}
}

bool qcf_bits_is_empty(const struct qcf_bits *bits)
{
	return qcf_bits_next(bits, 0, QCF_BITS_MAX) == QCF_BITS_MAX;
}
