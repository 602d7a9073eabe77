//! A byte queue whose memory follows what it holds.
//!
//! **Owns** bytes between their producer and their consumer, and the memory for them. **Must never
//! touch** a socket.
//! **Invariant**: `len` is what was pushed and not consumed; an empty buffer keeps at most
//! [`SMALL_BYTES`] of memory, and what it gives up goes back to the system.
//!
//! A few bytes are on the heap. More are in an anonymous mapping of their own: no allocator stands
//! between `munmap(2)` and the system. Measured: after buffers of 64 MiB were freed, glibc kept 8 to
//! 64 MiB of them, because one block in use keeps all memory below it, and adapts so that the next
//! buffers are no longer mapped. Only pages that were written to are resident, so a mapping can be
//! large enough from the start, and growing copies nothing.

use crate::system;
use memmap2::MmapMut;
use std::sync::LazyLock;

/// The most bytes on the heap: enough for a name or a greeting. A mapping takes a page and three
/// system calls, 2 µs in all.
pub const SMALL_BYTES: usize = 120;

/// The size of a mapping: address space, not memory. More than a client ever has in one buffer; an
/// answer to an observer can be longer, and takes a multiple.
pub const MAPPING_BYTES: usize = 144 * 1_024;

/// Memory is resident in pages.
static PAGE_BYTES: LazyLock<usize> = LazyLock::new(system::page_bytes);

/// A first-in, first-out queue of bytes.
#[derive(Debug, Default)]
pub struct Buffer {
    storage: Storage,
    /// Where the queued bytes begin; before it are consumed ones.
    start: u32,
    end: u32,
}

#[derive(Debug)]
enum Storage {
    Heap(Box<[u8]>),
    Mapped(Box<Mapping>),
}

#[derive(Debug)]
struct Mapping {
    bytes: MmapMut,
    /// Bytes up to the last one that was ever written: the pages up to it are resident.
    touched: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self::Heap(Box::default())
    }
}

impl Storage {
    /// Room for `bytes`; if the system grants no mapping, on the heap. Linux allows 65,530 mappings per
    /// process (`vm.max_map_count`), and each holds at least a page, so that a cap of up to 255 MiB
    /// cannot reach that.
    fn with_room(bytes: usize) -> Self {
        if bytes > SMALL_BYTES
            && let Ok(mapping) = MmapMut::map_anon(bytes.next_multiple_of(MAPPING_BYTES))
        {
            system::keep_small_pages(&mapping);
            return Self::Mapped(Box::new(Mapping {
                bytes: mapping,
                touched: 0,
            }));
        }
        Self::Heap(vec![0; bytes].into_boxed_slice())
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(mapping) => &mapping.bytes,
        }
    }

    /// The bytes up to `end`, which will be written.
    fn bytes_to(&mut self, end: usize) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => &mut bytes[..end],
            Self::Mapped(mapping) => {
                mapping.touched = mapping.touched.max(end);
                &mut mapping.bytes[..end]
            }
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            Self::Mapped(mapping) => mapping.touched.next_multiple_of(*PAGE_BYTES),
        }
    }
}

impl Buffer {
    /// An empty buffer with room for [`SMALL_BYTES`].
    #[must_use]
    pub fn small() -> Self {
        Self {
            storage: Storage::with_room(SMALL_BYTES),
            ..Self::default()
        }
    }

    /// The number of bytes queued.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether none is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The resident memory in bytes, used or not: limits must hold for memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.storage.memory()
    }

    /// The queued bytes, the oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.storage.bytes()[self.start as usize..self.end as usize]
    }

    /// Appends `bytes`. Consumed bytes make room first, and no more memory is used than the bytes
    /// need: the limits on a client count bytes, and memory must follow them.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (start, end) = (self.start as usize, self.end as usize);
        let needed = self.len() + bytes.len();
        if needed > self.storage.bytes().len() {
            self.move_to(Storage::with_room(needed));
        } else if start > 0 {
            self.storage.bytes_to(end).copy_within(start.., 0);
        }
        let len = needed - bytes.len();
        self.storage.bytes_to(needed)[len..].copy_from_slice(bytes);
        (self.start, self.end) = (0, as_u32(needed));
    }

    /// Removes the first `count` bytes, at most [`len`](Self::len) of them.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "consumed more than there is");
        self.start += as_u32(count.min(self.len()));
        if self.is_empty() {
            self.clear();
        } else if self.memory() >= 4 * self.len().next_multiple_of(*PAGE_BYTES) {
            // Most of the memory holds consumed bytes. Each is paid for at most once.
            self.move_to(Storage::with_room(self.len()));
        }
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if self.storage.bytes().len() > SMALL_BYTES {
            self.storage = Storage::default();
        }
    }

    fn move_to(&mut self, mut storage: Storage) {
        let len = self.len();
        storage.bytes_to(len).copy_from_slice(self.as_slice());
        self.storage = storage;
        (self.start, self.end) = (0, as_u32(len));
    }
}

/// Positions in a buffer: no limit of the program comes near 4 GiB.
fn as_u32(position: usize) -> u32 {
    u32::try_from(position).expect("a buffer is bounded by the limits on a client")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_holds_little_memory() {
        let mut buffer = Buffer::default();
        buffer.push(b"");
        assert_eq!(buffer.memory(), 0);
        buffer.push(b"hello");
        buffer.consume(2);
        assert_eq!((buffer.as_slice(), buffer.len()), (&b"llo"[..], 3));
        buffer.consume(3);
        assert!(buffer.is_empty());
        assert_eq!(buffer.memory(), 5);
        buffer.push(&[0; SMALL_BYTES + 1]);
        assert_eq!(buffer.memory(), *PAGE_BYTES);
        buffer.consume(SMALL_BYTES + 1);
        assert_eq!(buffer.memory(), 0);
    }

    #[test]
    fn memory_follows_what_is_queued() {
        let mut buffer = Buffer::default();
        buffer.push(&vec![b'x'; 8 * *PAGE_BYTES]);
        assert_eq!(buffer.memory(), 8 * *PAGE_BYTES);
        buffer.consume(5 * *PAGE_BYTES);
        assert_eq!(buffer.memory(), 8 * *PAGE_BYTES, "not worth a copy yet");
        buffer.consume(*PAGE_BYTES);
        assert_eq!(buffer.memory(), 2 * *PAGE_BYTES);
        buffer.consume(2 * *PAGE_BYTES - 3);
        assert_eq!(buffer.as_slice(), b"xxx");
        assert_eq!(buffer.memory(), *PAGE_BYTES * 2);
        buffer.push(&vec![b'y'; 2 * MAPPING_BYTES]);
        assert_eq!(buffer.len(), 3 + 2 * MAPPING_BYTES);
        assert!(buffer.as_slice().starts_with(b"xxxy"));
    }

    proptest! {
        /// What goes in comes out, once and in order; memory is at most four times what is queued,
        /// in pages, and little when nothing is.
        #[test]
        fn is_a_queue(
            calls in prop::collection::vec((any::<u8>(), 0usize..9_000, 0usize..9_000), 0..40),
        ) {
            let (mut buffer, mut model) = (Buffer::default(), Vec::new());
            for (first, length, consumed) in calls {
                let pushed: Vec<u8> = (0..length).map(|n| first.wrapping_add(n as u8)).collect();
                buffer.push(&pushed);
                model.extend_from_slice(&pushed);
                let consumed = consumed.min(model.len());
                buffer.consume(consumed);
                model.drain(..consumed);
                prop_assert_eq!(buffer.as_slice(), model.as_slice());
                let pages = model.len().next_multiple_of(*PAGE_BYTES);
                prop_assert!(buffer.memory() <= SMALL_BYTES.max(4 * pages));
            }
        }
    }
}
