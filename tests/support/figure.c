/* SPDX-License-Identifier: MIT */
/* figure.c - what a test program has counted, over all of its processes */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "figure.h"

#define FIGURES 8

/* Only one test runs at a time. */
static struct figure {
	char name[48];
	char unit[16];
	uint64_t count;
} *figures;

void figure_init(void)
{
	figures = mmap(NULL, FIGURES * sizeof(*figures), PROT_READ | PROT_WRITE,
	               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (figures == MAP_FAILED) {
		perror("test");
		exit(EXIT_FAILURE);
	}
}

void figure_add(const char *name, const char *unit, uint64_t count)
{
	for (int i = 0; i < FIGURES; i++) {
		struct figure *f = &figures[i];

		if (f->name[0] == '\0') {
			snprintf(f->name, sizeof(f->name), "%s", name);
			snprintf(f->unit, sizeof(f->unit), "%s", unit);
		}
		if (strcmp(f->name, name) == 0) {
			f->count += count;
			return;
		}
	}
	fprintf(stderr, "test: too many figures\n");
	exit(EXIT_FAILURE);
}

void figure_print(void)
{
	for (int i = 0; i < FIGURES && figures[i].name[0] != '\0'; i++)
		printf("figure: %s %" PRIu64 " %s\n", figures[i].name,
		       figures[i].count, figures[i].unit);
}
