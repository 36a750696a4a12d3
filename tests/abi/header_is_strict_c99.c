/* SPDX-License-Identifier: MIT */
/*
 * header_is_strict_c99.c - the header needs nothing but C99
 *
 * Compiled with -std=c99 -pedantic -Werror, so no language extension and no
 * feature macro of ours may be needed, and included first, so that the header
 * includes what it uses.
 */
#include <qcowfmt.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct qcowfmt_create_options create = { 0 };
	struct qcowfmt_open_options open = { 0 };
	struct qcowfmt_info info = { 0 };
	struct qcowfmt_image *image = NULL;
	struct qcowfmt_error *error = NULL;
	char byte = 'x';

	if (argc != 2)
		return 2;
	create.struct_size = sizeof(create);
	create.virtual_size = 1u << 20;
	create.version = 2;
	open.struct_size = sizeof(open);
	open.format = QCOWFMT_FORMAT_QCOW2;
	open.flags = QCOWFMT_OPEN_READ_WRITE;
	info.struct_size = sizeof(info);
	if (qcowfmt_create_file(argv[1], &create, &error) < 0 ||
	    qcowfmt_open_file(argv[1], &open, &image, &error) < 0 ||
	    qcowfmt_pwrite(image, &byte, 1, 4096, &error) < 0 ||
	    qcowfmt_pread(image, &byte, 1, 4096, &error) < 0 ||
	    qcowfmt_get_info(image, 0, &info, &error) < 0) {
		fprintf(stderr, "%s\n", qcowfmt_error_message(error));
		qcowfmt_error_free(error);
		return 1;
	}
	if (byte != 'x' || info.version != 2 || info.virtual_size != 1u << 20 ||
	    strncmp(qcowfmt_version(), "0.1", 3) != 0)
		return 1;
	return qcowfmt_close(image, NULL) == 0 ? 0 : 1;
}
