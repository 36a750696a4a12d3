/* SPDX-License-Identifier: MIT */
/*
 * luks_vectors.h - four LUKS areas with nothing random in them
 *
 * Salts, master key and stripes are fixed, so every byte is known.  Images with
 * these areas were read by QEMU.
 */
#ifndef QCF_LUKS_VECTORS_H
#define QCF_LUKS_VECTORS_H

#include "crypto_test.h"

#define VECTOR_SECRET "correct horse"

struct luks_vector {
	const char *hash;
	const char *mode;
	const char *ivgen;
	const char *ivgen_hash; /* NULL = none */
	uint32_t key_len;
	uint32_t digest_iterations;
	uint32_t slot_iterations;
	uint32_t slot;
	bool stripes_count; /* byte of stripe i is i, otherwise 0 */
	uint64_t data_offset;
	const char *digest;
	const char *slot_key;
	const char *last_stripe;
	const char *plain_sha256;
	const char *material_sha256;
	const char *material;
	const char *header_sha256;
	const char *data; /* of the sector of 'Q' at data_offset */
	const char *data_sha256;
};

/* A built area and what it was made from. */
struct luks_area {
	struct qcf_luks_header header;
	uint8_t master_key[QCF_LUKS_MAX_KEY];
	uint8_t slot_key[QCF_LUKS_MAX_KEY];
	uint8_t *plain; /* stripes */
	uint8_t *bytes;
	size_t len;
};

static const struct luks_vector luks_vectors[] = {
	{ "sha256", "xts", "plain64", NULL, 64, 10, 20, 0, true, 0x250000,
	  "c261591abc2cf61281294f7f6afaf3d0b3499ce8",
	  "f6fc6db7f5104825721d88e8730820279b41b61d827d99d4329966a072b130de"
	  "2d49687fdd1f5c3d1d65aa2912082cca57a8c751aab63affc8c436e95176f195",
	  "c99eefc9b20fbec39597c9d96f5fb0d195f0e4b57abd1bed16e99de1f55c2f06"
	  "d4ae78697381e1d06b5b59f92a5b3268ef54ef1b452a26bb60b90499b89eb25e",
	  "84ce650cb34cc104322b4bb91e6bf5133e3ad16d15b02db82b4503ee66080f27",
	  "df265a82eae0b9dcc5b76e9e15bb2ca78d26a2520758c7c27cdf25655e51ae88",
	  "77c61240273928ff14731b10eeb5f8e8ee794bc3cdd7e6d3b79f794a7203117c",
	  "2d091e3799881881bf74fe63c54b5c5fc78fff00c6296d91215aae3b25dd79c0",
	  "db74452f2cdff5c8eb291ea66e91e6f6bb8b7925b30510cf28f65edd1eee4f6c",
	  "0b95aeda03f3bb2526b343ac71d02888f798a75aa78fc661c540c13bd447a2c2" },
	{ "sha1", "cbc", "essiv", "sha256", 32, 10, 20, 2, true, 0x160000,
	  "640b5dec10d136a9ae7000ea913186b297efef51",
	  "e28180a774f357e1770bf5245c83db0d7128af64d20e60bcf135f31450de166f",
	  "291e62d46d51c699684a14bd977694e6da003a2c017196ff073c99a9c38fe246",
	  "1000f858d8efe5d376700fc5fc3275c7e7c68b34efdad445903fc6311dd61a53",
	  "6230bf59101c4de589998d499f3800071e49ef8967f53cc851ca5ddec86771e8",
	  "03e1ee21e342c015340f6b91343bd32ca002c64b368c74fbfa45c55463ca6948",
	  "997853a31defe01927756bd2efe70959d791ba4aa03390f38b54f78eca708fe7",
	  "8a0d2d393b80e315454463f47be20d4f4392bad2dbfcecc5d77947f2374de24a",
	  "d642ba20e8d7494e7df3b6b9fa981a1b86bbbe115361a0f242eb9fa8fa36dd4a" },
	{ "sha256", "cbc", "plain", NULL, 16, 1, 1, 0, false, 0xe0000,
	  "6a5f48677d8e62d7ea8bf95718b39c0241e94cae",
	  "de620fb9b5c584e4b351bcbe361159a7",
	  "4c0707577092016e1a6448302b840c4a",
	  "475a32816b5225047ad12def4b965fa02b57d2f0eff111e8f8e32d5a9fc7ec40",
	  "b4cda1c751f9eff2027c77ba11c68e21d6145fd648539db65a4c96f7b7205ad5",
	  "6109b6d1e8da246a29f8f15cf818056cb9cfb7ab78da9941e0a37665efae258a",
	  "0f1360cd17e73d8647eb268dd331dd9f5a255dfd05700095a8758b53e8a81649",
	  "696271ca6161c209c691e5ddc7757114e6c150a103bb3e643e4abdb3c8b0db6d",
	  "485a0ba6cf22edf816f786e9f3228e85f245a0ea43db7718cf63e70eea9b267a" },
	{ "sha512", "xts", "plain64", NULL, 32, 3, 5, 0, false, 0x160000,
	  "9d83b5a3dfbb60a19ef76651708040edc506af97",
	  "9ddc2c278aef92c619f198b581ae1064c5ededaad988d0f53db8be384acd4908",
	  "9b1c1cca2b87e230c3bf9b171500ceba13f45185a868ab0867d30c2c44c9f7a8",
	  "f2d7c77aa7688151d1680cfcb06e85acec74b7d670630cf6ac921d9a0d05030c",
	  "60764cd90ff7d82813a1c0967259bea6b78fd0f240330f809245138bc95bee89",
	  "c0440749f0e408d884597cad06700a8fdd1d8ce7e718a729683bf53fe32ea613",
	  "3f9a85a569dce9f23dfa1b9083526202063c9dc61b86257f573dfb1dcb929790",
	  "b19608a3edd362f98ff50474eb982a005b30f34edacc8809d13827a7b1f22535",
	  "a0dbd785068a832d3ef7cd104c3fcbe68611499f0a10cdd91263b4b3a7136413" },
};

static inline void luks_area_header(struct qcf_luks_header *h,
                                    const struct luks_vector *v)
{
	struct qcf_luks_slot *slot = &h->slots[v->slot];

	*h = (struct qcf_luks_header){ .key_len = v->key_len };
	snprintf(h->cipher, sizeof(h->cipher), "aes");
	snprintf(h->hash, sizeof(h->hash), "%s", v->hash);
	ck_assert(
		qcf_luks_header_set_mode(h, v->mode, v->ivgen, v->ivgen_hash));
	qcf_luks_header_lay_out(h);
	memset(h->digest_salt, 0x11, sizeof(h->digest_salt));
	h->digest_iterations = v->digest_iterations;
	snprintf(h->uuid, sizeof(h->uuid),
	         "01234567-89ab-cdef-0123-456789abcdef");
	slot->active = true;
	slot->iterations = v->slot_iterations;
	memset(slot->salt, 0x22, sizeof(slot->salt));
}

static inline void luks_area_stripes(struct luks_area *area,
                                     const struct luks_vector *v)
{
	area->plain = calloc(1, qcf_luks_material_len(v->key_len));
	for (size_t i = 0; v->stripes_count && i < QCF_LUKS_STRIPES - 1; i++)
		memset(area->plain + i * v->key_len, (uint8_t)i, v->key_len);
	ck_assert_int_eq(qcf_af_split(v->hash, area->master_key, v->key_len,
	                              QCF_LUKS_STRIPES, area->plain, NULL),
	                 0);
}

static inline uint8_t *luks_area_material(struct luks_area *area,
                                          const struct luks_vector *v)
{
	return area->bytes +
	       (size_t)area->header.slots[v->slot].key_sector * QCF_LUKS_SECTOR;
}

static inline void luks_area_build(struct luks_area *area,
                                   const struct luks_vector *v)
{
	struct qcf_luks_header *h = &area->header;
	struct qcf_cipher_spec spec;
	struct qcf_cipher *cipher = NULL;
	struct qcf_kdf kdf = { v->hash, h->slots[v->slot].salt,
		               QCF_LUKS_SALT_LEN, v->slot_iterations };

	luks_area_header(h, v);
	count_up(area->master_key, sizeof(area->master_key));
	ck_assert_int_eq(qcf_luks_digest(h, area->master_key, h->digest, NULL),
	                 0);
	ck_assert_int_eq(qcf_kdf_derive(&kdf, VECTOR_SECRET,
	                                strlen(VECTOR_SECRET), area->slot_key,
	                                v->key_len, NULL),
	                 0);
	luks_area_stripes(area, v);
	area->len = (size_t)h->payload_sector * QCF_LUKS_SECTOR;
	area->bytes = calloc(1, area->len);
	qcf_luks_header_encode(h, area->bytes);
	spec = qcf_luks_spec(h);
	ck_assert_int_eq(qcf_cipher_new(&spec, area->slot_key, &cipher, NULL),
	                 0);
	ck_assert_int_eq(qcf_cipher_encrypt(cipher, area->plain,
	                                    luks_area_material(area, v),
	                                    qcf_luks_material_len(v->key_len),
	                                    0, NULL),
	                 0);
	qcf_cipher_free(cipher);
}

static inline void luks_area_free(struct luks_area *area)
{
	free(area->plain);
	free(area->bytes);
}

#endif
