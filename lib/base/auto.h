/* SPDX-License-Identifier: MIT */
/*
 * auto.h - cleanup when a variable goes out of scope
 *
 * A function that owns memory marks the variable QCF_AUTO_FREE; returning from
 * anywhere frees it, and qcf_take() hands the value on instead.
 */
#ifndef QCF_AUTO_H
#define QCF_AUTO_H

#include <stdlib.h>

#define QCF_CLEANUP(fn)       __attribute__((cleanup(fn)))
#define QCF_MUST_CHECK        __attribute__((warn_unused_result))
#define QCF_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

static inline void qcf_auto_free(void *variable)
{
	free(*(void **)variable);
}

#define QCF_AUTO_FREE QCF_CLEANUP(qcf_auto_free)

/* The value of a pointer variable, which is NULL afterwards. */
#define qcf_take(variable)                                        \
	({                                                        \
		__typeof__(*(variable)) qcf_taken_ = *(variable); \
		*(variable) = NULL;                               \
		qcf_taken_;                                       \
	})

#define QCF_MIN(a, b)                              \
	({                                         \
		__typeof__(a) qcf_a_ = (a);        \
		__typeof__(b) qcf_b_ = (b);        \
		qcf_a_ < qcf_b_ ? qcf_a_ : qcf_b_; \
	})
#define QCF_MAX(a, b)                              \
	({                                         \
		__typeof__(a) qcf_a_ = (a);        \
		__typeof__(b) qcf_b_ = (b);        \
		qcf_a_ > qcf_b_ ? qcf_a_ : qcf_b_; \
	})

#define QCF_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The structure that holds a member. */
#define qcf_container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
