/* SPDX-License-Identifier: MIT */
/* chain_api.c - exported functions on images and those below them */
#include "commit.h"
#include "compare.h"
#include "options.h"
#include "rebase.h"

int qcowfmt_commit(struct qcowfmt_image *image, struct qcowfmt_image *base,
                   const struct qcowfmt_commit_options *options,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_commit_options ours;
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_commit_options", errp);

	return ret < 0 ? ret : qcf_commit(image, base, &ours, errp);
}

int qcowfmt_rebase(struct qcowfmt_image *image, struct qcowfmt_image *new_base,
                   const struct qcowfmt_rebase_options *options,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_rebase_options ours;
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_rebase_options", errp);

	return ret < 0 ? ret : qcf_rebase(image, new_base, &ours, errp);
}

int qcowfmt_compare(struct qcowfmt_image *first, struct qcowfmt_image *second,
                    const struct qcowfmt_compare_options *options,
                    struct qcowfmt_compare_result *result,
                    struct qcowfmt_error **errp)
{
	struct qcowfmt_compare_options ours;
	struct qcowfmt_compare_result found = { 0 };
	int ret = qcf_options_copy(&ours, sizeof(ours), options,
	                           "qcowfmt_compare_options", errp);
	int copied;

	if (ret < 0)
		return ret;
	ret = qcf_compare(first, second, &ours, &found, errp);
	copied = qcf_result_copy(result, &found, sizeof(found),
	                         "qcowfmt_compare_result", errp);
	return ret < 0 ? ret : copied;
}
