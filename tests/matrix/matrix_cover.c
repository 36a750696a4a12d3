/* SPDX-License-Identifier: MIT */
/*
 * matrix_cover.c - a selection of the legal combinations
 *
 * Greedy: of some combinations drawn by chance take the one with the most pairs
 * that are still missing.  When none drawn has any, take the first combination
 * of the list that does, so that the end is reached.
 */
#include "matrix_cover.h"

#include <stdlib.h>
#include <string.h>

#include "rng.h"

#define DRAWN  100
#define VALUES (QCF_DIMENSIONS * QCF_MAX_VALUES)

/* Which pairs of values have been seen. */
struct pairs {
	bool seen[VALUES][VALUES];
	size_t count;
};

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static bool *pair_of(struct pairs *pairs, const struct qcf_spec *spec, int a,
                     int b)
{
	return &pairs->seen[a * QCF_MAX_VALUES + spec->value[a]]
	                   [b * QCF_MAX_VALUES + spec->value[b]];
}

static unsigned int missing_pairs(struct pairs *pairs,
                                  const struct qcf_spec *spec)
{
	unsigned int missing = 0;
	int a;
	int b;

	for (a = 0; a < QCF_DIMENSIONS; a++) {
		for (b = 0; b < a; b++)
			missing += !*pair_of(pairs, spec, a, b);
	}
	return missing;
}

static void see_pairs(struct pairs *pairs, const struct qcf_spec *spec)
{
	int a;
	int b;

	for (a = 0; a < QCF_DIMENSIONS; a++) {
		for (b = 0; b < a; b++) {
			pairs->count += !*pair_of(pairs, spec, a, b);
			*pair_of(pairs, spec, a, b) = true;
		}
	}
}

/* Count up like an odometer; false after the last. */
static bool next_spec(struct qcf_spec *spec)
{
	int d;

	for (d = 0; d < QCF_DIMENSIONS; d++) {
		spec->value[d]++;
		if (spec->value[d] <
		    qcf_dimension_values((enum qcf_dimension)d))
			return true;
		spec->value[d] = 0;
	}
	return false;
}

static void append(struct qcf_cover *cover, const struct qcf_spec *spec)
{
	/* Room doubles whenever the count is a power of two. */
	if ((cover->count & (cover->count - 1)) == 0)
		cover->specs = must(realloc(
			cover->specs, (2 * cover->count + 1) * sizeof(*spec)));
	cover->specs[cover->count++] = *spec;
}

static void all_legal(struct qcf_cover *all)
{
	struct pairs *pairs = must(calloc(1, sizeof(*pairs)));
	struct qcf_spec spec = { { 0 } };

	memset(all, 0, sizeof(*all));
	do {
		if (qcf_spec_is_legal(&spec)) {
			append(all, &spec);
			see_pairs(pairs, &spec);
		}
	} while (next_spec(&spec));
	all->legal_count = all->count;
	all->pair_count = pairs->count;
	all->covered_count = pairs->count;
	free(pairs);
}

static const struct qcf_spec *draw(const struct qcf_cover *all,
                                   struct qcf_rng *rng)
{
	return &all->specs[qcf_rng_below(rng, all->count)];
}

static const struct qcf_spec *first_useful(const struct qcf_cover *all,
                                           struct pairs *pairs)
{
	size_t i = 0;

	while (missing_pairs(pairs, &all->specs[i]) == 0)
		i++;
	return &all->specs[i];
}

/* Some pair is missing. */
static const struct qcf_spec *best_of_some(const struct qcf_cover *all,
                                           struct pairs *pairs,
                                           struct qcf_rng *rng)
{
	const struct qcf_spec *best = NULL;
	unsigned int most = 0;
	int i;

	for (i = 0; i < DRAWN; i++) {
		const struct qcf_spec *spec = draw(all, rng);
		unsigned int missing = missing_pairs(pairs, spec);

		if (missing > most) {
			most = missing;
			best = spec;
		}
	}
	return best ? best : first_useful(all, pairs);
}

/*
 * Some combination that adds no pair.  Evenly by version, or the many features
 * of version 3 would leave the others out, and seldom LUKS, which is slow.
 */
static const struct qcf_spec *draw_more(const struct qcf_cover *all,
                                        struct qcf_rng *rng)
{
	static const uint8_t versions[] = { 0, 1, 1, 2, 2, 2, 2 };
	uint8_t version = versions[qcf_rng_below(rng, sizeof(versions))];
	bool luks_too = qcf_rng_percent(rng, 10);
	const struct qcf_spec *spec;

	do {
		spec = draw(all, rng);
	} while (spec->value[QCF_DIM_VERSION] != version ||
	         (!luks_too && spec->value[QCF_DIM_ENCRYPTION] > 1));
	return spec;
}

void qcf_cover_pairs(struct qcf_cover *cover, size_t min_count, uint64_t seed)
{
	struct pairs *pairs = must(calloc(1, sizeof(*pairs)));
	struct qcf_rng rng = qcf_rng_new(seed, 0);
	struct qcf_cover all;

	all_legal(&all);
	memset(cover, 0, sizeof(*cover));
	cover->legal_count = all.count;
	cover->pair_count = all.pair_count;
	while (pairs->count < all.pair_count || cover->count < min_count) {
		const struct qcf_spec *spec =
			pairs->count < all.pair_count
				? best_of_some(&all, pairs, &rng)
				: draw_more(&all, &rng);

		append(cover, spec);
		see_pairs(pairs, spec);
	}
	cover->covered_count = pairs->count;
	qcf_cover_free(&all);
	free(pairs);
}

/* Whether this is the one cipher that its other values are tried with. */
static bool is_chosen_cipher(const struct qcf_spec *spec)
{
	/* The first two values are "none" and "aes". */
	unsigned int kinds = qcf_dimension_values(QCF_DIM_ENCRYPTION) - 2;
	struct qcf_spec others = *spec;

	if (spec->value[QCF_DIM_ENCRYPTION] < 2)
		return true;
	others.value[QCF_DIM_ENCRYPTION] = 0;
	return (qcf_spec_hash(&others) >> 20) % kinds ==
	       spec->value[QCF_DIM_ENCRYPTION] - 2u;
}

void qcf_cover_product(struct qcf_cover *cover)
{
	struct pairs *pairs = must(calloc(1, sizeof(*pairs)));
	struct qcf_cover all;
	size_t i;

	all_legal(&all);
	memset(cover, 0, sizeof(*cover));
	cover->legal_count = all.count;
	cover->pair_count = all.pair_count;
	for (i = 0; i < all.count; i++) {
		if (is_chosen_cipher(&all.specs[i])) {
			append(cover, &all.specs[i]);
			see_pairs(pairs, &all.specs[i]);
		}
	}
	cover->covered_count = pairs->count;
	qcf_cover_free(&all);
	free(pairs);
}

void qcf_cover_free(struct qcf_cover *cover)
{
	free(cover->specs);
	memset(cover, 0, sizeof(*cover));
}
