/* SPDX-License-Identifier: MIT */
/*
 * img_create_options.h - the options of -o for "create" and "convert"
 *
 * One table per format drives parsing, "-o help" and the line that says what
 * is being formatted, and refuses what this version cannot do.
 *
 * img_create_resolve.c holds what checks the values as a whole.
 *
 * Functions that can fail return NULL, or the reason as a text that the caller
 * frees: the two commands put different words before it.
 */
#ifndef QCF_IMG_CREATE_OPTIONS_H
#define QCF_IMG_CREATE_OPTIONS_H

#include <stdbool.h>

#include "tool_keyval.h"
#include "tool_util.h"

#define IMG_MAX_CREATE_OPTIONS 24

struct img_create_value {
	bool is_set;
	char *text;      /* as given */
	uint64_t number; /* of sizes and numbers; 0 or 1 of switches */
};

struct img_create_values {
	int format; /* enum qcowfmt_format */
	struct img_create_value values[IMG_MAX_CREATE_OPTIONS];
	/* What the options of encryption come to. */
	struct qcowfmt_encryption_options encryption;
};

/* format_name: "raw", "qcow" or "qcow2"; everything is at its default. */
char *qcf_create_values_init(struct img_create_values *values,
                             const char *format_name);
void qcf_create_values_fini(struct img_create_values *values);

/* Take over a parsed -o list. */
char *qcf_create_values_parse(struct img_create_values *values,
                              const struct qcf_keyval_list *list);

/* Set one option; false if the format does not have it. */
bool qcf_create_values_set(struct img_create_values *values, const char *name,
                           const char *text);

/* NULL if it was not set and has no default. */
const struct img_create_value *qcf_create_value(
	const struct img_create_values *values, const char *name);
const char *qcf_create_text(const struct img_create_values *values,
                            const char *name);

/* The line "Formatting 'FILE', fmt=...". */
void qcf_create_values_print(const struct img_create_values *values,
                             const char *filename);

/* The table of "-o help"; with those of files if a file was named. */
char *qcf_create_print_help(const char *format_name, bool with_file_options);

/*
 * Check the values and fill in what the library wants to know, but for the
 * virtual size.  The strings stay those of values.
 */
char *qcf_create_values_resolve(struct img_create_values *values,
                                struct qcowfmt_create_options *options);

/* Why creating an image failed with ret; the caller frees it. */
char *qcf_create_reason(int ret, const struct qcowfmt_error *error,
                        const char *path, int format);

#endif
