/* SPDX-License-Identifier: MIT */
/* fuzz.c - what every fuzz target shares */
#include "fuzz.h"

void *fuzz_need(void *memory)
{
	if (memory == NULL) {
		fprintf(stderr, "fuzz: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return memory;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = fuzz_need(malloc(size + 1));

	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

uint64_t fuzz_nasty(uint64_t *state)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		7,
		8,
		9,
		21,
		0x1ff,
		0x200,
		0x201,
		0x1000,
		0x10000,
		0x7fffffff,
		0x80000000,
		0xfffffff9,
		0xffffffff,
		0x100000000,
		UINT64_C(0x00fffffffffffe00),
		UINT64_C(0x0100000000000000),
		UINT64_C(0x3fffffffffffffff),
		UINT64_C(0x4000000000000000),
		UINT64_C(0x7fffffffffffffff),
		UINT64_C(0x7ffffffffffffe00),
		UINT64_C(0x8000000000000000),
		UINT64_C(0x8000000000000001),
		UINT64_C(0xfffffffffffffe00),
		UINT64_C(0xffffffffffffffff),
	};

	return values[fuzz_below(state, QCF_ARRAY_LEN(values))];
}

/* Not the descriptors, which sanitizers write to. */
void fuzz_be_quiet(void)
{
	FILE *nowhere = fuzz_need(fopen("/dev/null", "w"));

#ifdef __GLIBC__
	stdout = nowhere;
	stderr = nowhere;
#else
	(void)nowhere;
#endif
}
