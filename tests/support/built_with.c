/* SPDX-License-Identifier: MIT */
/* built_with.c - what the library under test was built with, as it says itself */
#include <errno.h>
#include <qcowfmt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "built_with.h"

static void die(const char *what)
{
	fprintf(stderr, "built_with: %s\n", what);
	abort();
}

static bool ask(void)
{
	struct qcowfmt_create_options options = {
		.struct_size = sizeof(options),
		.virtual_size = 65536,
		.compression_type = 1,
	};
	struct qcowfmt_error *error = NULL;
	struct qcowfmt_storage *storage = NULL;
	int ret;

	if (qcowfmt_storage_new_memory(0, &storage, NULL) < 0)
		die("no memory");
	ret = qcowfmt_create(storage, &options, &error);
	if (ret < 0 && (ret != -ENOTSUP ||
	                qcowfmt_error_code(error) != QCOWFMT_ERR_UNSUPPORTED ||
	                strstr(qcowfmt_error_message(error), "zstd") == NULL))
		die(qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	qcowfmt_storage_free(storage);
	return ret == 0;
}

bool built_with_zstd(void)
{
	static int known = -1;

	if (known < 0)
		known = ask();
	return known != 0;
}
