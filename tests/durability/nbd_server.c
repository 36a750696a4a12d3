/* SPDX-License-Identifier: MIT */
/*
 * nbd_server.c - an image as the disk of a guest that QEMU runs
 *
 *   nbd_server IMAGE SOCKET [forgetful]
 *
 * Serves the image, opened by the library, to one client after the other by the NBD
 * protocol ("fixed newstyle", simple replies).  Several threads serve one client.
 * To be killed: there is no other end.  A forgetful one says that a flush is done
 * and does nothing: the judge has to notice.
 */
#include <endian.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "image_disk.h"

#define SERVERS  4
#define MAX_DATA (32u << 20)

#define INIT_MAGIC    UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define OPTION_MAGIC  UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define REPLY_MAGIC   UINT64_C(0x0003e889045565a9)
#define REQUEST_MAGIC 0x25609513u
#define ANSWER_MAGIC  0x67446698u

enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_INFO = 6, OPT_GO = 7 };

enum { REP_ACK = 1, REP_INFO = 3 };

#define REP_ERR_UNSUP 0x80000001u

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_ZEROES = 6 };

#define CMD_FUA     0x1u
#define CMD_NO_HOLE 0x2u

/* Has flags; flush, FUA, trim, write zeroes. */
#define EXPORT_FLAGS (0x1u | 0x4u | 0x8u | 0x20u | 0x40u)
#define EIO_ON_WIRE  5u

struct client {
	int fd;
	struct qcowfmt_image *image;
	bool forgetful;
	pthread_mutex_t receiving;
	pthread_mutex_t sending;
};

struct request {
	uint32_t flags, type;
	uint64_t handle; /* as it came */
	uint64_t offset;
	uint32_t len;
	uint8_t *data;
};

/* ------------------------------------------------------------------------ bytes */

static bool take(int fd, void *buffer, size_t len)
{
	uint8_t *p = buffer;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool give(int fd, const void *buffer, size_t len)
{
	const uint8_t *p = buffer;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static uint8_t *put(uint8_t *p, uint64_t value, unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		p[i] = (uint8_t)(value >> (size - 1 - i) * 8);
	return p + size;
}

static uint64_t get(const uint8_t *p, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value = value << 8 | p[i];
	return value;
}

/* --------------------------------------------------------------------- handshake */

static bool reply(int fd, uint32_t option, uint32_t type, const void *data,
                  uint32_t len)
{
	uint8_t head[20];

	put(put(put(put(head, REPLY_MAGIC, 8), option, 4), type, 4), len, 4);
	return give(fd, head, sizeof(head)) && give(fd, data, len);
}

static bool tell_export(int fd, uint32_t option)
{
	uint8_t info[12];

	put(put(put(info, 0, 2), (uint64_t)SECTORS * SECTOR, 8), EXPORT_FLAGS,
	    2);
	return reply(fd, option, REP_INFO, info, sizeof(info)) &&
	       reply(fd, option, REP_ACK, NULL, 0);
}

/* One option of the client; *done if requests follow. */
static bool negotiate(int fd, bool *done)
{
	static uint8_t rest[65536];
	uint8_t head[16];
	uint32_t option;
	uint32_t len;

	if (!take(fd, head, sizeof(head)) || get(head, 8) != OPTION_MAGIC)
		return false;
	option = (uint32_t)get(head + 8, 4);
	len = (uint32_t)get(head + 12, 4);
	if (len > sizeof(rest) || !take(fd, rest, len))
		return false;
	*done = option == OPT_GO || option == OPT_EXPORT_NAME;
	switch (option) {
	case OPT_GO:
	case OPT_INFO:
		return tell_export(fd, option);
	case OPT_EXPORT_NAME:
		put(put(rest, (uint64_t)SECTORS * SECTOR, 8), EXPORT_FLAGS, 2);
		return give(fd, rest, 10);
	case OPT_ABORT:
		return false;
	default:
		return reply(fd, option, REP_ERR_UNSUP, NULL, 0);
	}
}

static bool shake_hands(int fd)
{
	uint8_t hello[18];
	uint8_t flags[4];
	bool done = false;

	/* Fixed newstyle, no zeros behind an export's name. */
	put(put(put(hello, INIT_MAGIC, 8), OPTION_MAGIC, 8), 3, 2);
	if (!give(fd, hello, sizeof(hello)) || !take(fd, flags, sizeof(flags)))
		return false;
	while (!done) {
		if (!negotiate(fd, &done))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------- requests */

static bool receive(struct client *c, struct request *r)
{
	uint8_t head[28];

	if (!take(c->fd, head, sizeof(head)) || get(head, 4) != REQUEST_MAGIC)
		return false;
	r->flags = (uint32_t)get(head + 4, 2);
	r->type = (uint32_t)get(head + 6, 2);
	r->handle = get(head + 8, 8);
	r->offset = get(head + 16, 8);
	r->len = (uint32_t)get(head + 24, 4);
	if (r->type == CMD_DISC)
		return false;
	if (r->type != CMD_WRITE)
		return true;
	return r->len <= MAX_DATA && take(c->fd, r->data, r->len);
}

static int flush(struct client *c)
{
	return c->forgetful ? 0 : qcowfmt_flush(c->image, NULL);
}

static int serve(struct client *c, const struct request *r)
{
	uint32_t zero_flags =
		r->flags & CMD_NO_HOLE ? 0 : QCOWFMT_ZERO_MAY_UNMAP;
	int ret = -1;

	switch (r->type) {
	case CMD_READ:
		return qcowfmt_pread(c->image, r->data, r->len, r->offset,
		                     NULL);
	case CMD_WRITE:
		ret = qcowfmt_pwrite(c->image, r->data, r->len, r->offset,
		                     NULL);
		break;
	case CMD_TRIM:
		ret = qcowfmt_discard(c->image, r->offset, r->len, NULL);
		break;
	case CMD_ZEROES:
		ret = qcowfmt_write_zeroes(c->image, r->offset, r->len,
		                           zero_flags, NULL);
		break;
	case CMD_FLUSH:
		return flush(c);
	}
	if (ret >= 0 && (r->flags & CMD_FUA) != 0)
		ret = flush(c);
	return ret;
}

static bool answer(struct client *c, const struct request *r, int ret)
{
	uint8_t head[16];
	bool ok;

	put(put(put(head, ANSWER_MAGIC, 4), ret < 0 ? EIO_ON_WIRE : 0, 4),
	    r->handle, 8);
	pthread_mutex_lock(&c->sending);
	ok = give(c->fd, head, sizeof(head)) &&
	     (r->type != CMD_READ || ret < 0 || give(c->fd, r->data, r->len));
	pthread_mutex_unlock(&c->sending);
	return ok;
}

static void *serve_client(void *opaque)
{
	struct client *c = opaque;
	struct request r = { .data = malloc(MAX_DATA) };
	bool ok = r.data != NULL;

	while (ok) {
		pthread_mutex_lock(&c->receiving);
		ok = receive(c, &r);
		pthread_mutex_unlock(&c->receiving);
		if (ok)
			ok = answer(c, &r, serve(c, &r));
	}
	free(r.data);
	return NULL;
}

static void have_client(int fd, struct qcowfmt_image *image, bool forgetful)
{
	struct client c = {
		.fd = fd,
		.image = image,
		.forgetful = forgetful,
		.receiving = PTHREAD_MUTEX_INITIALIZER,
		.sending = PTHREAD_MUTEX_INITIALIZER,
	};
	pthread_t servers[SERVERS];

	if (!shake_hands(fd))
		return;
	for (int i = 0; i < SERVERS; i++) {
		if (pthread_create(&servers[i], NULL, serve_client, &c) != 0)
			fail("starting a thread", NULL);
	}
	for (int i = 0; i < SERVERS; i++)
		pthread_join(servers[i], NULL);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct qcowfmt_image *image;
	int listener;

	if (argc < 3 || strlen(argv[2]) >= sizeof(address.sun_path))
		fail("usage: nbd_server IMAGE SOCKET", NULL);
	image = image_disk_open(argv[1], NULL, QCOWFMT_OPEN_READ_WRITE);
	memcpy(address.sun_path, argv[2], strlen(argv[2]));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 4) < 0)
		fail("no socket", NULL);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		have_client(fd, image, argc > 3);
		close(fd);
	}
}
