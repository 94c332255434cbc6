//! The pictures of a recording that a plan asks for, in order of time: each is decoded once, and the mean of several is made
//! where the plan shows that.

use super::decoder::{Decoded, Decoder};
use crate::error::{Error, Result};
use crate::picture::{Colour, Frame, Mean, View};
use crate::pipeline::Fragments;
use crate::probe::Video;
use std::path::Path;

/// A decoded picture counts as the planned one within this; containers round to milliseconds at worst.
const SAME_NS: u64 = 1_000_000;

/// How a file's pictures are reached.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    pub fragments: &'a Fragments,
    pub path: &'a Path,
    pub video: &'a Video,
    /// Decode from the file's start instead of seeking.
    pub sequential: bool,
    /// Times of all pictures, for a stream that has none of its own.
    pub times: Option<&'a Vec<u64>>,
    /// To a picture as far ahead is sought, where seeking is possible.
    pub jump_ns: u64,
}

pub struct Reel<'a> {
    way: Way<'a>,
    decoder: Option<Decoder>,
    /// The next picture that the decoder gave and nobody has used.
    ahead: Option<Decoded>,
    /// Stream time that decoding has come to.
    at: u64,
    /// What was found last, by its time and those of its pictures: asked for again it is not decoded again.
    last: Option<(u64, Vec<u64>, Found)>,
}

enum Shape {
    One(Decoded),
    Mean(Frame, Colour),
}

pub struct Found {
    shape: Shape,
    /// The decoder says that parts of it are concealed.
    pub damaged: bool,
}

impl Found {
    /// Runs `look` on the picture where it lies.
    pub fn view<T>(&self, look: impl FnOnce(&View, Colour) -> Result<T>) -> Result<T> {
        match &self.shape {
            Shape::One(picture) => picture.view(look),
            Shape::Mean(frame, colour) => look(&frame.view(), *colour),
        }
    }
}

impl<'a> Reel<'a> {
    pub fn new(way: Way<'a>) -> Self {
        Reel { way, decoder: None, ahead: None, at: 0, last: None }
    }

    /// Lets go of the decoder: the next picture is sought.
    pub fn rewind(&mut self) {
        *self = Reel::new(self.way);
    }

    /// Decodes on to the picture of stream time `ns`, or to the mean of the pictures `of` that is called by it; `None` where it
    /// is not there. Of a mean those are left out that are not there or damaged.
    pub fn get(&mut self, ns: u64, of: &[u64], alive: &mut dyn FnMut()) -> Result<Option<&Found>> {
        if self.last.as_ref().is_none_or(|(last, pictures, _)| *last != ns || pictures != of) {
            self.last = self.find(if of.is_empty() { std::slice::from_ref(&ns) } else { of }, alive)?.map(|found| (ns, of.to_vec(), found));
        }
        Ok(self.last.as_ref().map(|(_, _, found)| found))
    }

    /// The picture that the decoder gave behind what was asked for last.
    pub fn ahead(&self) -> Option<&Decoded> {
        self.ahead.as_ref()
    }

    /// What ended the stream early.
    pub fn fault(&self) -> Option<String> {
        self.decoder.as_ref().and_then(Decoder::fault)
    }

    fn find(&mut self, wanted: &[u64], alive: &mut dyn FnMut()) -> Result<Option<Found>> {
        let mut mean = Mean::default();
        let mut one = None;
        for ns in wanted {
            let Some(picture) = self.decode(*ns, alive)? else { continue };
            if wanted.len() == 1 || picture.damaged && one.is_none() {
                let damaged = picture.damaged;
                one = Some(Found { shape: Shape::One(picture), damaged });
            } else if !picture.damaged {
                picture.view(|view, colour| Ok(mean.add(view, colour)))?;
            }
        }
        let mean = mean.frame().map(|(frame, colour)| Found { shape: Shape::Mean(frame, colour), damaged: false });
        Ok(mean.or(one))
    }

    fn decode(&mut self, wanted: u64, alive: &mut dyn FnMut()) -> Result<Option<Decoded>> {
        let way = &self.way;
        let far = wanted > self.at.saturating_add(way.jump_ns) && !way.sequential;
        if far || self.decoder.is_none() {
            // The one before lets go of its memory first.
            (self.decoder, self.ahead) = (None, None);
            let from = (!way.sequential).then_some(wanted);
            self.decoder = Some(Decoder::open(way.fragments, way.path, way.video, from, way.times.cloned(), false, alive)?);
        }
        let decoder = self.decoder.as_mut().ok_or_else(|| Error::bug("a decoder vanished"))?;
        self.at = wanted;
        loop {
            if self.ahead.is_none() {
                self.ahead = decoder.next(alive)?;
                alive();
            }
            match &self.ahead {
                Some(picture) if picture.stream_ns + SAME_NS < wanted => self.ahead = None,
                Some(picture) if picture.stream_ns <= wanted + SAME_NS => return Ok(self.ahead.take()),
                _ => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::decoder::{init, launch};
    use crate::picture::fingerprint;
    use gstreamer as gst;
    use gstreamer::prelude::*;

    const FRAME: u64 = 40_000_000;
    /// Where what is asked for begins: farther from the file's start than the margin that is sought before it.
    const LATE: u64 = 100 * FRAME;

    /// 130 pictures of noise, 25 a second; every one is a keyframe.
    fn film(dir: &tempfile::TempDir) -> std::path::PathBuf {
        init().unwrap();
        let path = dir.path().join("film.mov");
        let graph = launch(&format!(
            "videotestsrc pattern=snow num-buffers=130 ! video/x-raw,format=I420,width=96,height=64,framerate=25/1 ! jpegenc ! qtmux ! filesink location={}",
            path.display()
        ))
        .unwrap();
        graph.set_state(gst::State::Playing).unwrap();
        let ended = graph.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
        assert!(ended.is_some());
        graph.set_state(gst::State::Null).unwrap();
        path
    }

    fn print(reel: &mut Reel, ns: u64, of: &[u64]) -> Option<u64> {
        reel.get(ns, of, &mut || ()).unwrap().map(|found| found.view(|view, _| Ok(fingerprint(view))).unwrap())
    }

    #[test]
    fn pictures_and_means_come_in_order_and_again_without_being_decoded_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, fragments) = (film(&dir), Fragments::built_in());
        let video = crate::encode::decoder::tests::video("001");
        for sequential in [true, false] {
            let way = Way { fragments: &fragments, path: &path, video: &video, sequential, times: None, jump_ns: u64::MAX };
            let of = [LATE + 4 * FRAME, LATE + 7 * FRAME, LATE + 9 * FRAME];
            let mut sum = Mean::default();
            let mut alone = Reel::new(way);
            for ns in of {
                let added = alone.get(ns, &[], &mut || ()).unwrap().unwrap().view(|view, colour| Ok(sum.add(view, colour)));
                assert!(added.unwrap());
            }
            let mean = fingerprint(&sum.frame().unwrap().0.view());
            let next = print(&mut alone, LATE + 10 * FRAME, &[]).unwrap();

            let mut reel = Reel::new(way);
            assert!(print(&mut reel, LATE + 2 * FRAME, &[]).is_some_and(|p| p != mean));
            for _ in 0..2 {
                assert_eq!(print(&mut reel, LATE + 7 * FRAME, &of), Some(mean), "{sequential}");
            }
            // The picture that a mean is called by is another thing, and has passed.
            assert_eq!(print(&mut reel, LATE + 7 * FRAME, &[]), None);
            assert_eq!(print(&mut reel, LATE + 10 * FRAME, &[]), Some(next));
            // What is not there is left out of a mean, and missing where it is all.
            let last = print(&mut reel, LATE + 29 * FRAME, &[LATE + 29 * FRAME, LATE + 40 * FRAME]).unwrap();
            reel.rewind();
            assert_eq!(print(&mut reel, LATE + 29 * FRAME, &[]), Some(last));
            assert_eq!(print(&mut reel, LATE + 40 * FRAME, &[LATE + 40 * FRAME, LATE + 41 * FRAME]), None);
            assert!(reel.ahead().is_none());
        }
    }
}
