//! As much CBOR (RFC 8949) as an attestation has: lengths given and as short as can be, no tags, no floats.

/// Maps and lists within each other, at most.
const MAX_DEPTH: usize = 8;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;

/// What is still to be read.
pub struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    pub fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// How many pairs follow.
    pub fn map(&mut self) -> Option<u64> {
        self.of(MAP)
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = self.of(BYTES)?;
        self.take(usize::try_from(length).ok()?)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        let length = self.of(TEXT)?;
        std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()
    }

    /// Reads past a map, whatever it holds.
    pub fn skip_map(&mut self) -> Option<()> {
        if self.0.first()? >> 5 == MAP { self.skip(0) } else { None }
    }

    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (kind, argument) = self.head()?;
        let items = match kind {
            UNSIGNED | NEGATIVE => 0,
            BYTES | TEXT => {
                self.take(usize::try_from(argument).ok()?)?;
                0
            }
            LIST => argument,
            MAP => argument.checked_mul(2)?,
            // False, true, null.
            SIMPLE if (20..=22).contains(&argument) => 0,
            _ => return None,
        };
        // Each takes a byte at least, so that a false number soon ends.
        for _ in 0..items {
            self.skip(depth + 1)?;
        }
        Some(())
    }

    fn of(&mut self, expected: u8) -> Option<u64> {
        let (kind, argument) = self.head()?;
        (kind == expected).then_some(argument)
    }

    /// The kind, and its number: in the fewest bytes that hold it.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = *self.take(1)?.first()?;
        let (kind, short) = (first >> 5, first & 0x1f);
        let width = match short {
            0..=23 => return Some((kind, short.into())),
            24..=27 => 1_usize << (short - 24),
            _ => return None,
        };
        let number = self.take(width)?.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        let least = if width == 1 { 24 } else { 1 << (4 * width) };
        (kind != SIMPLE && number >= least).then_some((kind, number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Reader;

    fn skips(hex: &str) -> bool {
        let bytes = hex::decode(hex).unwrap();
        let mut reader = Reader(&bytes);
        reader.skip_map().is_some() && reader.0.is_empty()
    }

    #[test]
    fn well_formed_maps_are_skipped_and_no_others() {
        // {}, {"a": [1, -1, h'', true]}, {1: 24}, {1: 256}, {1: 65536}
        for good in ["a0", "a1616184012040f5", "a1011818", "a101190100", "a1011a00010000"] {
            assert!(skips(good), "{good}");
        }
        for bad in [
            "",
            "80",
            "a1",
            "a101",
            "a10118",
            "a1011817",
            "a1011900ff",
            "a1011a0000ffff",
            "a1011b00000000ffffffff",
            // Without an end, tagged, a float, undefined, a map of 2^63 pairs.
            "bf0101ff",
            "a101c100",
            "a101f93c00",
            "a101f7",
            "bb8000000000000000",
            "a1015f40ff",
        ] {
            assert!(!skips(bad), "{bad}");
        }
        let deep = |n: usize| format!("a101{}80", "81".repeat(n));
        assert!(skips(&deep(7)) && !skips(&deep(8)));
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            let _read = reader.skip_map();
            prop_assert!(reader.0.len() <= bytes.len());
        }
    }
}
