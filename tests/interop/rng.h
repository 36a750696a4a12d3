/* SPDX-License-Identifier: MIT */
/*
 * rng.h - seeded random numbers, the same on every machine
 *
 * splitmix64: any seed will do, and a generator for a part of a test can be
 * split off by mixing in that part's number, so that one image of a run can be
 * repeated without the others.
 */
#ifndef QCF_RNG_H
#define QCF_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qcf_rng {
	uint64_t state;
};

/* The seed of this run: $QCF_SEED, or a fresh one.  Printed once. */
uint64_t qcf_seed(void);

/* 50 with $QCF_LONG=1, otherwise 1. */
unsigned int qcf_long_factor(void);

struct qcf_rng qcf_rng_new(uint64_t seed, uint64_t part);

uint64_t qcf_rng_next(struct qcf_rng *rng);

/* 0 <= result < limit; limit must not be 0. */
uint64_t qcf_rng_below(struct qcf_rng *rng, uint64_t limit);

/* low <= result <= high */
uint64_t qcf_rng_between(struct qcf_rng *rng, uint64_t low, uint64_t high);

bool qcf_rng_percent(struct qcf_rng *rng, unsigned int percent);

void qcf_rng_fill(struct qcf_rng *rng, void *buffer, size_t len);

#endif
