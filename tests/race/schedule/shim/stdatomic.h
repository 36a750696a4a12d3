/* SPDX-License-Identifier: MIT */
/*
 * stdatomic.h - atomic operations that the scheduler sees coming
 *
 * Found in front of the real one when the library is compiled for scheduled
 * tests.  There is one real thread, so plain accesses will do.  What is found
 * holds for sequentially consistent memory; the rest is ThreadSanitizer's.
 */
#ifndef QCF_SHIM_STDATOMIC_H
#define QCF_SHIM_STDATOMIC_H

#include_next <stdatomic.h>

#include "points.h"

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_compare_exchange_strong
#undef atomic_load_explicit
#undef atomic_store_explicit

#define QCF_SHIM_LOAD(kind, object)                      \
	__extension__({                                  \
		__auto_type at_ = (object);              \
		qcf_point((kind), at_);                  \
		__typeof__((void)0, *at_) value_ = *at_; \
		value_;                                  \
	})
#define QCF_SHIM_STORE(kind, object, value)   \
	__extension__({                       \
		__auto_type at_ = (object);   \
		__auto_type value_ = (value); \
		qcf_point((kind), at_);       \
		*at_ = value_;                \
		(void)0;                      \
	})
/* old_ may be used in the new value. */
#define QCF_SHIM_CHANGE(object, operand, value)        \
	__extension__({                                \
		__auto_type at_ = (object);            \
		__auto_type operand_ = (operand);      \
		qcf_point(QCF_POINT_CHANGE, at_);      \
		__typeof__((void)0, *at_) old_ = *at_; \
		*at_ = (value);                        \
		old_;                                  \
	})

#define atomic_load(object) QCF_SHIM_LOAD(QCF_POINT_LOAD, object)
#define atomic_store(object, value) \
	QCF_SHIM_STORE(QCF_POINT_STORE, object, value)
/* The library orders these by hand where nothing depends on their moment, or a
 * sequence number tells: worth a look, but not every time. */
#define atomic_load_explicit(object, order) \
	QCF_SHIM_LOAD(QCF_POINT_WEAK_LOAD, object)
#define atomic_store_explicit(object, value, order) \
	QCF_SHIM_STORE(QCF_POINT_WEAK_STORE, object, value)

#define atomic_exchange(object, value) QCF_SHIM_CHANGE(object, value, operand_)
#define atomic_fetch_add(object, value) \
	QCF_SHIM_CHANGE(object, value, old_ + operand_)
#define atomic_fetch_sub(object, value) \
	QCF_SHIM_CHANGE(object, value, old_ - operand_)
#define atomic_fetch_or(object, value) \
	QCF_SHIM_CHANGE(object, value, old_ | operand_)

#define atomic_compare_exchange_strong(object, expected, value) \
	__extension__({                                         \
		__auto_type at_ = (object);                     \
		__auto_type expected_ = (expected);             \
		qcf_point(QCF_POINT_CHANGE, at_);               \
		__typeof__((void)0, *at_) old_ = *at_;          \
		bool same_ = old_ == *expected_;                \
		if (same_)                                      \
			*at_ = (value);                         \
		else                                            \
			*expected_ = old_;                      \
		same_;                                          \
	})

#endif
