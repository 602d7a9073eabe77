//! How the bytes that a fuzzer invents become input: values, long runs, and the sizes of reads.
//!
//! **Owns** the encoding. **Must never touch** what is tested. **Invariant**: every byte string
//! means something, and a small change of it means a similar thing, so that the fuzzer learns
//! which changes reach new code.

#![allow(dead_code, unreachable_pub)] // each target uses only a part

/// In [`expand`], the next byte selects the length of a run. It is never part of UTF-8.
const RUN: u8 = 0xff;

/// Lengths that are limits of helloop: near these, runs matter.
const LIMITS_BYTES: [usize; 6] = [64, 1_024, 4_096, 8_192, 16_384, 65_536];

/// Most bytes that [`expand`] returns: some times the longest limit, and still fast.
const MAX_EXPANDED_BYTES: usize = 256 * 1_024;

/// Values read off the front of the input. At its end all values are zero.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        byte
    }

    /// A number below `bound`, which is at most 256.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// The next `count` bytes, or those that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The length of a run: a limit of helloop, or up to 21 bytes more or less.
pub fn run_bytes(selector: u8) -> usize {
    let selector = usize::from(selector);
    LIMITS_BYTES[selector % 6] + selector / 6 - 21
}

/// The bytes, with each run in place of the two bytes that stand for it.
pub fn expand(bytes: &[u8]) -> Vec<u8> {
    let mut input = Input(bytes);
    let mut expanded = Vec::new();
    while !input.is_empty() {
        match input.byte() {
            RUN => {
                let length = expanded.len() + run_bytes(input.byte());
                if length <= MAX_EXPANDED_BYTES {
                    expanded.resize(length, b'x');
                }
            }
            byte => expanded.push(byte),
        }
    }
    expanded
}

/// Divides `bytes` into reads, whose sizes follow from `seed`: all in one, or small and uneven ones,
/// which grow, so that a parser that begins anew with each read stays fast.
pub fn pieces(seed: u8, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let most = match seed & 3 {
        0 => bytes.len().max(1),
        1 => 1,
        2 => 16,
        _ => 2_048,
    };
    let mut random = u32::from(seed);
    let mut rest = bytes;
    std::iter::from_fn(move || {
        // The generator in the C standard's example of rand(); its low bits are poor.
        random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let size = match seed & 3 {
            0 => most,
            _ => 1 + (random >> 16) as usize % most + (bytes.len() - rest.len()) / 16,
        };
        let piece = rest.split_off(..size.min(rest.len()))?;
        (!piece.is_empty()).then_some(piece)
    })
}
