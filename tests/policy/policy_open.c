/* SPDX-License-Identifier: MIT */
/*
 * policy_open.c - open an image with the library, for a trace of what it touches
 *
 *   policy_open POLICY MODES FILE
 *
 * POLICY is refuse, beneath, local, ignore or callback (which refuses), or inspect,
 * which prints the verdict on an image from a stranger, in hexadecimal.  MODES are
 * letters: w read-write, n metadata only, r for repair, c check it, i write the
 * first sector, - nothing.  Prints the message of the first failure; ends with the
 * errno value.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcowfmt.h>

static const char *const policies[] = {
	[QCOWFMT_REFERENCES_REFUSE] = "refuse",
	[QCOWFMT_REFERENCES_BENEATH] = "beneath",
	[QCOWFMT_REFERENCES_LOCAL] = "local",
	[QCOWFMT_REFERENCES_CALLBACK] = "callback",
	[QCOWFMT_REFERENCES_IGNORE] = "ignore",
};

static int refuse(void *opaque, const struct qcowfmt_reference *reference,
                  struct qcowfmt_storage **storage, int32_t *format)
{
	(void)opaque;
	(void)reference;
	(void)storage;
	(void)format;
	return -EPERM;
}

static int find_policy(const char *name)
{
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(policies[i], name) == 0)
			return (int)i;
	}
	fprintf(stderr, "no such policy: %s\n", name);
	exit(EXIT_FAILURE);
}

static uint32_t flags_of(const char *modes)
{
	return (strchr(modes, 'w') != NULL ? QCOWFMT_OPEN_READ_WRITE : 0) |
	       (strchr(modes, 'n') != NULL ? QCOWFMT_OPEN_NO_DATA : 0) |
	       (strchr(modes, 'r') != NULL ? QCOWFMT_OPEN_REPAIR : 0);
}

static int use(struct qcowfmt_image *image, const char *modes,
               struct qcowfmt_error **errp)
{
	struct qcowfmt_check_result result = { .struct_size = sizeof(result) };
	unsigned char sector[512] = { 1 };
	int ret = 0;

	if (strchr(modes, 'c') != NULL)
		ret = qcowfmt_check(image,
		                    strchr(modes, 'w') != NULL
		                            ? QCOWFMT_CHECK_REPAIR_ALL
		                            : 0,
		                    NULL, NULL, &result, errp);
	if (ret == 0 && strchr(modes, 'i') != NULL)
		ret = qcowfmt_pwrite(image, sector, sizeof(sector), 0, errp);
	else if (ret == 0)
		(void)qcowfmt_pread(image, sector, sizeof(sector), 0, NULL);
	return ret;
}

static int inspect(const char *path, struct qcowfmt_error **errp)
{
	struct qcowfmt_file_options options = {
		.struct_size = sizeof(options),
		.flags = QCOWFMT_FILE_READ_ONLY | QCOWFMT_FILE_NO_LOCK,
	};
	struct qcowfmt_inspection found = { .struct_size = sizeof(found) };
	struct qcowfmt_storage *storage = NULL;
	int ret = qcowfmt_storage_open_file(path, &options, &storage, errp);

	if (ret == 0)
		ret = qcowfmt_inspect(storage, NULL, NULL, &found, errp);
	qcowfmt_storage_free(storage);
	printf("%x\n", found.unsafe);
	return ret;
}

static int open_and_use(char **argv, struct qcowfmt_error **errp)
{
	struct qcowfmt_open_options options = {
		.struct_size = sizeof(options),
		.reference_policy = find_policy(argv[1]),
		.flags = flags_of(argv[2]),
		.undeclared_format = QCOWFMT_UNDECLARED_PROBE,
		.reference_callback = refuse,
	};
	struct qcowfmt_image *image = NULL;
	int ret = qcowfmt_open_file(argv[3], &options, &image, errp);

	if (ret == 0) {
		ret = use(image, argv[2], errp);
		(void)qcowfmt_close(image, NULL);
	}
	return ret;
}

int main(int argc, char **argv)
{
	struct qcowfmt_error *error = NULL;
	int ret;

	if (argc != 4)
		return EXIT_FAILURE;
	if (strcmp(argv[1], "inspect") == 0)
		ret = inspect(argv[3], &error);
	else
		ret = open_and_use(argv, &error);
	if (ret < 0)
		fprintf(stderr, "%s\n", qcowfmt_error_message(error));
	qcowfmt_error_free(error);
	return -ret;
}
