/* SPDX-License-Identifier: MIT */
/* convert_input.c - a raw disk that comes through a function of the caller's */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checked.h"
#include "convert_input.h"
#include "geometry.h"

/* What the function returns is not trusted further than it must be. */
static int64_t call(struct qcf_input *input, void *buffer, uint64_t len,
                    struct qcowfmt_error **errp)
{
	int64_t got = input->read(input->opaque, buffer, (size_t)len);

	if (got > 0 && (uint64_t)got > len)
		got = -EIO;
	if (got < -4095)
		got = -EIO;
	if (got < 0)
		return qcf_fail_sys(errp, (int)-got,
		                    "taking %" PRIu64
		                    " bytes of input at offset %" PRIu64,
		                    len, input->position);
	input->position += (uint64_t)got;
	return got;
}

int qcf_input_take(struct qcf_input *input, void *buffer, uint64_t len,
                   uint64_t *got, struct qcowfmt_error **errp)
{
	uint8_t *bytes = buffer;
	uint64_t done = 0;

	*got = 0;
	while (done < len && !atomic_load(&input->at_end)) {
		int64_t part = call(input, bytes + done, len - done, errp);

		if (part < 0)
			return (int)part;
		if (part == 0)
			atomic_store(&input->at_end, true);
		done += (uint64_t)part;
	}
	*got = qcf_align_up(done, QCF_SECTOR_SIZE);
	memset(bytes + done, 0, *got - done);
	return 0;
}

int qcf_input_check_end(struct qcf_input *input, struct qcowfmt_error **errp)
{
	uint64_t before = input->position;
	uint8_t byte;
	int64_t got =
		atomic_load(&input->at_end) ? 0 : call(input, &byte, 1, errp);

	if (got <= 0)
		return (int)got;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "the input is longer than %" PRIu64 " bytes", before);
}
