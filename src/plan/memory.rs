//! What a chunk's child holds, and how far its encoders may look ahead for that. Measured on slides and on camera of 1080p
//! (docs/pipeline.md); `benches/memory.py` holds whole runs to 1.2 GB.

use super::RungPlan;
use crate::probe::Source;
use crate::units::Size;

/// Two chunks and what starts them stay under 1.2 GB, the program that they share counted once.
const MOST: u64 = 600_000_000;
/// Of slides, what is ahead is the same picture; of moving ones x264 needs some to share its bits out.
pub const LEAST_LOOKAHEAD: u32 = 8;

/// Program, libraries, and what GStreamer and x264 hold whatever the picture's size.
const BASE: u64 = 140_000_000;
/// Decoded pictures: the decoder's references and the queue after it.
const DECODED: u64 = 10;
/// Beside those ahead: pictures that are being coded, and in the queue before the encoder.
const CODING: u64 = 3;
const QUEUED: u64 = 4;

/// Bytes that one chunk's child holds at most, its program's files included. `sources`: largest pictures to be decoded.
pub fn chunk(rungs: &[RungPlan], sources: &[Source]) -> u64 {
    let decoded = sources.iter().filter_map(|s| s.video.as_ref()).map(|v| {
        let samples = v.width as u64 * v.height as u64 * 3 / 2;
        samples * if v.bit_depth > 8 { 2 } else { 1 }
    });
    BASE + DECODED * decoded.max().unwrap_or(0) + rungs.iter().map(encoder).sum::<u64>()
}

/// Bytes of one rung's encoder. x264 keeps a source picture with its quarter-size copies and what it found in them, and of each
/// reference three more copies at half-pixel steps; x264enc keeps the picture that it was given until it is coded.
fn encoder(rung: &RungPlan) -> u64 {
    let Size { width, height } = rung.size;
    let (shown, padded) = (width as u64 * height as u64, (width as u64 + 64) * (height as u64 + 64));
    let both_sides = rung.b_pictures > 0;
    let references = rung.references.max(if both_sides { 4 } else { 1 }) as u64 + 1;
    let ahead = rung.lookahead as u64 + CODING;
    let source = if both_sides { 34 } else { 29 };
    padded * (ahead * source + references * 54 + 60) / 10 + shown * (ahead + QUEUED) * 3 / 2
}

/// Shortens what all rungs look ahead, in proportion, until two chunks fit.
pub fn bound(rungs: &mut [RungPlan], sources: &[Source]) {
    let wanted: Vec<u32> = rungs.iter().map(|r| r.lookahead).collect();
    for twentieths in (1..20).rev() {
        if chunk(rungs, sources) <= MOST {
            return;
        }
        for (rung, wanted) in rungs.iter_mut().zip(&wanted) {
            rung.lookahead = (wanted * twentieths / 20).max(LEAST_LOOKAHEAD.min(*wanted));
        }
    }
}
