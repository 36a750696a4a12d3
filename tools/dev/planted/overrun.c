/* SPDX-License-Identifier: MIT */
/* overrun.c - writes behind a buffer, which the address checker must notice */
#include <stdlib.h>

int main(int argc, char **argv)
{
	volatile char *buffer = malloc(16);
	size_t index = 16 + (size_t)(argc - 1);

	(void)argv;
	if (!buffer)
		return 0;
	buffer[index] = 1;
	free((void *)buffer);
	return 0;
}
