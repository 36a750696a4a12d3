/* SPDX-License-Identifier: MIT */
/* thin.c - looking at a part of what there is */
#include <stdlib.h>

#include "thin.h"

unsigned int thin_factor(void)
{
	const char *text = getenv("QCF_THIN");
	unsigned long factor = text == NULL ? 1 : strtoul(text, NULL, 10);

	return factor < 1 || factor > 1000 ? 1 : (unsigned int)factor;
}
