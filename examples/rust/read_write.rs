// SPDX-License-Identifier: MIT
//! Create, write, reopen and read an image from Rust, without any crate.
//!
//!     read_write IMAGE
//!
//! Built by the script `build` beside this file, which takes the linker's
//! flags from pkg-config.  The declarations are what `bindgen` would make of
//! qcowfmt.h for the functions used here.  An option structure may stop at any
//! member: it carries its size, and the library takes the missing tail as
//! zeros, which means the defaults.

use std::ffi::{c_void, CStr, CString};
use std::mem::size_of;
use std::os::raw::{c_char, c_int};
use std::ptr;

mod sys {
    use super::*;

    #[repr(C)]
    pub struct Image {
        _opaque: [u8; 0],
    }

    #[repr(C)]
    pub struct Error {
        _opaque: [u8; 0],
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct CreateOptions {
        pub struct_size: usize,
        pub virtual_size: u64,
        pub format: i32,
        pub version: u32,
        pub cluster_size: u64,
    }

    #[repr(C)]
    #[derive(Default)]
    pub struct OpenOptions {
        pub struct_size: usize,
        pub format: i32,
        pub flags: u32,
    }

    pub const FORMAT_QCOW2: i32 = 3;
    pub const OPEN_READ_WRITE: u32 = 0x1;

    extern "C" {
        pub fn qcowfmt_error_message(error: *const Error) -> *const c_char;
        pub fn qcowfmt_error_free(error: *mut Error);
        pub fn qcowfmt_create_file(
            path: *const c_char,
            options: *const CreateOptions,
            errp: *mut *mut Error,
        ) -> c_int;
        pub fn qcowfmt_open_file(
            path: *const c_char,
            options: *const OpenOptions,
            image: *mut *mut Image,
            errp: *mut *mut Error,
        ) -> c_int;
        pub fn qcowfmt_close(image: *mut Image, errp: *mut *mut Error) -> c_int;
        pub fn qcowfmt_pread(
            image: *mut Image,
            buffer: *mut c_void,
            len: usize,
            guest_offset: u64,
            errp: *mut *mut Error,
        ) -> c_int;
        pub fn qcowfmt_pwrite(
            image: *mut Image,
            buffer: *const c_void,
            len: usize,
            guest_offset: u64,
            errp: *mut *mut Error,
        ) -> c_int;
        pub fn qcowfmt_get_size(image: *const Image) -> u64;
    }
}

/// Call a function that can fail and turn its error object into a string.
fn call(function: impl FnOnce(*mut *mut sys::Error) -> c_int) -> Result<(), String> {
    let mut error = ptr::null_mut();
    if function(&mut error) >= 0 {
        return Ok(());
    }
    // SAFETY: a failing call has set error; the message lives until the free.
    unsafe {
        let message = CStr::from_ptr(sys::qcowfmt_error_message(error))
            .to_string_lossy()
            .into_owned();
        sys::qcowfmt_error_free(error);
        Err(message)
    }
}

/// An open image.  `close` reports what a drop could not.
struct Image(*mut sys::Image);

// SAFETY: any number of threads may use one image at once; only the close must
// be the last call, and that takes the image by value.
unsafe impl Send for Image {}
unsafe impl Sync for Image {}

impl Image {
    fn create(path: &CStr, virtual_size: u64) -> Result<(), String> {
        let options = sys::CreateOptions {
            struct_size: size_of::<sys::CreateOptions>(),
            virtual_size,
            ..Default::default()
        };
        // SAFETY: path and options outlive the call.
        call(|errp| unsafe { sys::qcowfmt_create_file(path.as_ptr(), &options, errp) })
    }

    fn open(path: &CStr, flags: u32) -> Result<Image, String> {
        let options = sys::OpenOptions {
            struct_size: size_of::<sys::OpenOptions>(),
            format: sys::FORMAT_QCOW2,
            flags,
        };
        let mut image = ptr::null_mut();
        // SAFETY: as above; image is set on success.
        call(|errp| unsafe {
            sys::qcowfmt_open_file(path.as_ptr(), &options, &mut image, errp)
        })?;
        Ok(Image(image))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), String> {
        // SAFETY: the library writes buffer.len() bytes and no more.
        call(|errp| unsafe {
            sys::qcowfmt_pread(self.0, buffer.as_mut_ptr().cast(), buffer.len(), offset, errp)
        })
    }

    fn write(&self, buffer: &[u8], offset: u64) -> Result<(), String> {
        // SAFETY: the library only reads the buffer.
        call(|errp| unsafe {
            sys::qcowfmt_pwrite(self.0, buffer.as_ptr().cast(), buffer.len(), offset, errp)
        })
    }

    fn size(&self) -> u64 {
        // SAFETY: the handle is open as long as self lives.
        unsafe { sys::qcowfmt_get_size(self.0) }
    }

    fn close(mut self) -> Result<(), String> {
        let image = std::mem::replace(&mut self.0, ptr::null_mut());
        // SAFETY: nobody else can hold the handle: self was moved in.
        call(|errp| unsafe { sys::qcowfmt_close(image, errp) })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: closing NULL, which is what close() leaves, does nothing.
        unsafe { sys::qcowfmt_close(self.0, ptr::null_mut()) };
    }
}

fn run(path: &CStr) -> Result<(), String> {
    let data: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8 + 1).collect();
    let mut back = vec![0; data.len()];
    // Above 4 GiB on purpose: a binding that loses the upper half shows here.
    let offset = (5 << 30) + 321;

    Image::create(path, 8 << 30)?;
    let image = Image::open(path, sys::OPEN_READ_WRITE)?;
    image.write(&data, offset)?;
    image.close()?;

    let image = Image::open(path, 0)?;
    image.read(&mut back, offset)?;
    if back != data {
        return Err("read back something else than was written".into());
    }
    if image.read(&mut back, image.size()).is_ok() {
        return Err("a read beyond the end succeeded".into());
    }
    println!("wrote and read {} bytes of a disk of {}", data.len(), image.size());
    image.close()
}

fn main() {
    let path = match std::env::args().nth(1) {
        Some(path) => CString::new(path).expect("arguments hold no NUL"),
        None => {
            eprintln!("usage: read_write IMAGE");
            std::process::exit(2);
        }
    };
    if let Err(message) = run(&path) {
        eprintln!("{}", message);
        std::process::exit(1);
    }
}
