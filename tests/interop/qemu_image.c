/* SPDX-License-Identifier: MIT */
/* qemu_image.c - how QEMU's programs are told of an image and its secrets */
#include "qemu_image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

static void append(struct qcf_qemu_image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void append(struct qcf_qemu_image *image, const char *format, ...)
{
	size_t used = strlen(image->spec);
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(image->spec + used, sizeof(image->spec) - used, format,
	                args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(image->spec) - used)
		abort();
}

void qcf_qemu_image_add(struct qcf_qemu_image *image, const char *prefix,
                        const char *driver, const char *path,
                        const char *secret)
{
	const char *comma = image->spec[0] ? "," : "";

	if (driver && path)
		append(image,
		       "%s%sdriver=%s,%sfile.driver=file,%sfile.filename=%s",
		       comma, prefix, driver, prefix, prefix, path);
	if (!secret)
		return;
	append(image, ",%sencrypt.key-secret=secret%d", prefix,
	       image->secret_count);
	snprintf(image->secrets[image->secret_count], sizeof(image->secrets[0]),
	         "secret,id=secret%d,data=%s", image->secret_count, secret);
	image->secret_count++;
}

void qcf_qemu_image_init(struct qcf_qemu_image *image, const char *driver,
                         const char *path)
{
	memset(image, 0, sizeof(*image));
	qcf_qemu_image_add(image, "", driver, path, NULL);
}

int qcf_qemu_image_options(const struct qcf_qemu_image *image,
                           const char *argv[], int count)
{
	int i;

	for (i = 0; i < image->secret_count; i++) {
		argv[count++] = "--object";
		argv[count++] = image->secrets[i];
	}
	argv[count++] = "--image-opts";
	argv[count] = NULL;
	return count;
}

bool qcf_qemu_image_approves(const struct qcf_qemu_image *image,
                             struct qcf_finding *finding)
{
	const char *argv[QCF_RUN_MAX_ARGS] = { "qemu-img", "check" };
	int n = qcf_qemu_image_options(image, argv, 2);

	argv[n++] = image->spec;
	argv[n] = NULL;
	return qcf_run_ok(argv, NULL, QCF_FOUND_METADATA, finding);
}

bool qcf_qemu_image_has_snapshot(const struct qcf_qemu_image *image,
                                 const char *name, const char *raw_path,
                                 const char *copy, struct qcf_finding *finding)
{
	const char *convert[QCF_RUN_MAX_ARGS] = { "qemu-img", "convert" };
	int n = qcf_qemu_image_options(image, convert, 2);
	const char *const compare[] = { "qemu-img", "compare", "-f",
		                        "raw",      "-F",      "raw",
		                        raw_path,   copy,      NULL };

	convert[n++] = "-l";
	convert[n++] = name;
	convert[n++] = "-O";
	convert[n++] = "raw";
	convert[n++] = image->spec;
	convert[n++] = copy;
	convert[n] = NULL;
	return qcf_run_ok(convert, NULL, QCF_FOUND_METADATA, finding) &&
	       qcf_run_ok(compare, NULL, QCF_FOUND_CONTENT, finding);
}
