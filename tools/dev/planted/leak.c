/* SPDX-License-Identifier: MIT */
/* leak.c - loses memory, which the leak checker must notice */
#include <stdlib.h>

/* Volatile, or the compiler would leave the allocation out. */
static char *volatile kept;

int main(void)
{
	kept = malloc(1000);
	if (kept)
		*kept = 1;
	kept = malloc(2000);
	return kept == NULL;
}
