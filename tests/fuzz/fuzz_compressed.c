/* SPDX-License-Identifier: MIT */
/*
 * fuzz_compressed.c - target: compressed clusters, deflate and zstd
 *
 * Input: a byte for the type and one for the cluster size, then a stream.  It is
 * decompressed, and taken as data that is compressed and has to come back.
 */
#include <errno.h>

#include "compress.h"
#include "fuzz.h"

static void decompress(struct qcf_compressor *c, uint32_t type,
                       const uint8_t *in, size_t len, size_t out_len)
{
	uint8_t *out = fuzz_need(malloc(out_len));
	uint8_t *again = fuzz_need(malloc(out_len));
	uint8_t *longer = fuzz_need(calloc(1, len + 512));
	struct qcowfmt_error *error = NULL;
	int ret;

	memset(out, 1, out_len);
	memset(again, 2, out_len);
	memcpy(longer, in, len);
	ret = qcf_decompress(c, type, in, len, out, out_len, &error);
	FUZZ_ASSERT((ret == 0) == (error == NULL), "%d", ret);
	qcowfmt_error_free(error);
	/* All of the cluster comes from the stream.  One that fills it without
	 * an end may be found damaged behind that. */
	if (ret == 0) {
		ret = qcf_decompress(c, type, longer, len + 512, again, out_len,
		                     NULL);
		FUZZ_ASSERT(ret < 0 || memcmp(out, again, out_len) == 0,
		            "comes out differently");
	}
	free(out);
	free(again);
	free(longer);
}

static void compress(struct qcf_compressor *c, uint32_t type, const uint8_t *in,
                     size_t len, size_t room)
{
	uint8_t *out = fuzz_need(malloc(room));
	uint8_t *again = fuzz_need(malloc(len));
	int64_t ret = qcf_compress(c, type, in, len, out, room, NULL);

	FUZZ_ASSERT(ret >= 0 && (uint64_t)ret <= room, "%" PRId64, ret);
	if (ret > 0) {
		int back = qcf_decompress(c, type, out, (size_t)ret, again, len,
		                          NULL);

		FUZZ_ASSERT(back == 0 && memcmp(in, again, len) == 0, "%d",
		            back);
	}
	free(out);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_cursor in = { data, size, 0 };
	uint32_t type = (uint32_t)(fuzz_take(&in, 1) & 1);
	size_t cluster_size = (size_t)512 << fuzz_take(&in, 1) % 8;
	size_t len = size - in.pos;
	struct qcf_compressor c;

	if (!qcf_compression_is_built_in(type))
		return 0;
	qcf_compressor_init(&c, 0);
	decompress(&c, type, data + in.pos, len, cluster_size);
	if (len > 0)
		compress(&c, type, data + in.pos, len, cluster_size);
	qcf_compressor_fini(&c);
	return 0;
}
