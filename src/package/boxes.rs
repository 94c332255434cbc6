//! ISO BMFF bytes (ISO/IEC 14496-12): a box is a length, four letters and a body. Written by hand, since every byte of
//! container counts at 26 kbit/s and defaults must stand in for tables wherever they can.

/// Appends boxes to a buffer.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
    pub fn len(&self) -> usize {
        self.out.len()
    }
    /// A box whose body is written by `body`.
    pub fn boxed(&mut self, kind: &[u8; 4], body: impl FnOnce(&mut Writer)) {
        let start = self.out.len();
        self.u32(0).bytes(kind);
        body(self);
        let length = (self.out.len() - start) as u32;
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    /// A box with version and flags.
    pub fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Writer)) {
        self.boxed(kind, |w| {
            w.u32((version as u32) << 24 | flags);
            body(w);
        });
    }
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.out.push(v);
        self
    }
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        self.out.extend_from_slice(v);
        self
    }
    pub fn zeros(&mut self, n: usize) -> &mut Self {
        self.out.resize(self.out.len() + n, 0);
        self
    }
    /// Overwrites four bytes written before.
    pub fn patch_u32(&mut self, at: usize, v: u32) {
        self.out[at..at + 4].copy_from_slice(&v.to_be_bytes());
    }
}
