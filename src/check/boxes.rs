//! Walking ISO base media boxes in bytes that may be hostile: every length is checked, nothing is trusted, nothing
//! panics. A [`Cursor`] gives `None` past its end, a walk stops at the first box that does not fit and says so.

/// One box: where it lies in the walked bytes and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct Box<'a> {
    pub kind: [u8; 4],
    /// Of the header, from the start of the walked bytes.
    pub at: usize,
    /// Header and body.
    pub whole: usize,
    pub body: &'a [u8],
}

impl Box<'_> {
    pub fn name(&self) -> String {
        fourcc(self.kind)
    }
}

/// A four-character code for people.
pub fn fourcc(kind: [u8; 4]) -> String {
    kind.iter().map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '?' }).collect()
}

/// The boxes side by side in `data`, and what stopped the walk if it was not the end.
pub fn walk(data: &[u8]) -> (Vec<Box<'_>>, Option<String>) {
    let (mut boxes, mut at) = (Vec::new(), 0);
    while at < data.len() {
        let mut c = Cursor(&data[at..]);
        let (Some(short), Some(kind)) = (c.u32(), c.fourcc()) else {
            return (boxes, Some(format!("{} bytes at {at} are too few for a box", data.len() - at)));
        };
        let (size, header) = match short {
            0 => ((data.len() - at) as u64, 8),
            1 => (c.u64().unwrap_or(0), 16),
            n => (n as u64, 8),
        };
        if size < header || size > (data.len() - at) as u64 {
            return (boxes, Some(format!("box \"{}\" at {at} says {size} bytes, {} are there", fourcc(kind), data.len() - at)));
        }
        boxes.push(Box { kind, at, whole: size as usize, body: &data[at + header as usize..at + size as usize] });
        at += size as usize;
    }
    (boxes, None)
}

/// The first box of a kind directly inside `data`.
pub fn child<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    walk(data).0.into_iter().find(|b| &b.kind == kind).map(|b| b.body)
}

/// All boxes of a kind directly inside `data`.
pub fn children<'a>(data: &'a [u8], kind: &[u8; 4]) -> Vec<&'a [u8]> {
    walk(data).0.into_iter().filter(|b| &b.kind == kind).map(|b| b.body).collect()
}

/// Follows a path of first children.
pub fn path<'a>(data: &'a [u8], kinds: &[&[u8; 4]]) -> Option<&'a [u8]> {
    kinds.iter().try_fold(data, |data, kind| child(data, kind))
}

/// A reader that gives `None` past the end.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|b| b[0])
    }
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
    pub fn fourcc(&mut self) -> Option<[u8; 4]> {
        self.array()
    }
    /// Version and flags of a full box.
    pub fn full(&mut self) -> Option<(u8, u32)> {
        self.u32().map(|v| ((v >> 24) as u8, v & 0xff_ffff))
    }
    /// 32 or 64 bits by the full box's version.
    pub fn sized(&mut self, version: u8) -> Option<u64> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boxes_are_found_and_a_lying_length_stops_the_walk() {
        let mut data = b"\0\0\0\x0cfree1234".to_vec();
        data.extend(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x12ab");
        let (boxes, fault) = walk(&data);
        assert_eq!(boxes.iter().map(|b| (b.at, b.whole, b.body.len())).collect::<Vec<_>>(), [(0, 12, 4), (12, 18, 2)]);
        assert_eq!(fault, None);
        data.extend(b"\0\0\0\x09moof");
        let (boxes, fault) = walk(&data);
        assert_eq!((boxes.len(), fault.as_deref()), (2, Some("box \"moof\" at 30 says 9 bytes, 8 are there")));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_boxes_never_overlap(data: Vec<u8>) {
            let (boxes, _) = walk(&data);
            let mut end = 0;
            for b in boxes {
                prop_assert!(b.at == end && b.at + b.whole <= data.len());
                end = b.at + b.whole;
            }
        }
    }
}
