/* SPDX-License-Identifier: MIT */
/*
 * fuzz_luks_header.c - target: the LUKS header
 *
 * Input: 4 bytes for the length of the area, and the header.  What decodes keeps
 * its key material inside the area, and encodes to the same bytes.
 */
#include "fuzz.h"
#include "luks_header.h"

static void check_slots(const struct qcf_luks_header *h, uint64_t area_len)
{
	uint64_t len = qcf_luks_material_len(h->key_len);

	FUZZ_ASSERT(qcf_luks_key_len_ok(h->key_len), "%" PRIu32, h->key_len);
	FUZZ_ASSERT(h->digest_iterations > 0, "no iterations");
	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		const struct qcf_luks_slot *a = &h->slots[i];
		uint64_t start = (uint64_t)a->key_sector * QCF_LUKS_SECTOR;

		FUZZ_ASSERT(a->stripes == QCF_LUKS_STRIPES, "%" PRIu32,
		            a->stripes);
		FUZZ_ASSERT(!a->active || a->iterations > 0, "slot %" PRIu32,
		            i);
		FUZZ_ASSERT(start >= QCF_LUKS_HEADER_LEN &&
		                    start + len <= area_len,
		            "slot %" PRIu32 " of %" PRIu64, i, area_len);
		for (uint32_t j = 0; j < i; j++) {
			uint64_t other = (uint64_t)h->slots[j].key_sector *
			                 QCF_LUKS_SECTOR;

			FUZZ_ASSERT(other + len <= start ||
			                    start + len <= other,
			            "slots %" PRIu32 " and %" PRIu32, i, j);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t first[QCF_LUKS_HEADER_LEN];
	uint8_t second[QCF_LUKS_HEADER_LEN];
	struct fuzz_cursor in = { data, size, 0 };
	uint64_t area_len = fuzz_take(&in, 4);
	struct qcf_luks_header again;
	struct qcf_luks_header h;
	int ret;

	if (qcf_luks_header_decode(&h, data + in.pos, size - in.pos, area_len,
	                           0, NULL) < 0)
		return 0;
	check_slots(&h, area_len);
	free(qcf_luks_header_dump(&h));
	qcf_luks_header_encode(&h, first);
	ret = qcf_luks_header_decode(&again, first, sizeof(first), area_len, 0,
	                             NULL);
	FUZZ_ASSERT(ret == 0, "%d", ret);
	qcf_luks_header_encode(&again, second);
	FUZZ_ASSERT(memcmp(first, second, sizeof(first)) == 0,
	            "encodes to something else");
	return 0;
}
