//! Who is at work on a store. A publisher says in `intents/<id>.json` what he is going to name, before he relies on its
//! being there; whoever deletes says so in the same place, before he looks at what others have said. Both then list the
//! folder. Whichever comes second sees the other: the deleter leaves alone what the publisher names, the publisher waits
//! until the deleter is done. What a killed process left is told by its age, by the store's own clock.

use crate::error::{Error, Kind, Result};
use crate::manifest::{FORMAT, Release, current_key, from_json, to_json};
use crate::progress::Ctx;
use crate::store::{Body, Caching, Key, Listed, Precondition, Store, get_if_there};
use crate::units::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Where they lie.
pub(super) const FOLDER: &str = "intents/";

/// A publisher who has not renewed his intent for so long is gone. A day of sending is common over a bad uplink; an intent
/// is renewed with every lecture.
pub(super) const PUBLISHER_LIVES: Duration = Duration::from_secs(7 * 86_400);

/// ... and a deleter. He renews his, and stops by himself when he could not in time.
pub(super) const DELETER_LIVES: Duration = Duration::from_secs(15 * 60);

/// How old a publisher's intent may become before it is renewed where it has nothing new to say.
const RENEWED: Duration = Duration::from_secs(3600);

/// How long between two looks at whether a deleter is done.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one process is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub(super) enum Purpose {
    /// To make a release current: a publish or a rollback.
    Publish {
        course: String,
        /// The version of the pointer that the flip is conditional on: when it is another, that flip fails, and the intent
        /// with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<String>,
        /// Releases of the course whose files and objects all are needed: they need not be named one by one.
        releases: Vec<u64>,
        /// What else is needed.
        objects: Vec<String>,
    },
    /// To delete what nothing names.
    Prune,
    /// To take a lecture away, and these objects unless others need them.
    Withdraw { course: String, lecture: String, objects: Vec<String> },
}

impl Purpose {
    /// What must be there for this content, written over the current release.
    pub fn publish(content: &Release, over: Option<String>, base: Option<&Release>) -> Purpose {
        let known: BTreeSet<&str> = base.map(|b| b.objects().into_keys().collect()).unwrap_or_default();
        let all = content.objects();
        Purpose::Publish {
            course: content.course.clone(),
            over,
            releases: base.map(|b| b.release).into_iter().collect(),
            objects: all.into_keys().filter(|key| !known.contains(key)).map(str::to_string).collect(),
        }
    }
    fn lives(&self) -> Duration {
        match self {
            Purpose::Publish { .. } => PUBLISHER_LIVES,
            Purpose::Prune | Purpose::Withdraw { .. } => DELETER_LIVES,
        }
    }
    pub fn deletes(&self) -> bool {
        !matches!(self, Purpose::Publish { .. })
    }
}

#[derive(Serialize, Deserialize)]
struct Intent {
    format: u32,
    #[serde(flatten)]
    purpose: Purpose,
}

/// Somebody's intent as it lies in the store.
#[derive(Debug)]
pub(super) struct Found {
    pub key: Key,
    /// `None`: damaged, or of a newer version of rivulet.
    pub purpose: Option<Purpose>,
    /// Not renewed for longer than such a process lives.
    pub stale: bool,
}

impl Found {
    /// One who may still be deleting.
    fn deletes(&self) -> bool {
        !self.stale && self.purpose.as_ref().is_some_and(Purpose::deletes)
    }
}

/// An intent of ours.
pub(super) struct Held<'a> {
    store: &'a dyn Store,
    ctx: &'a Ctx,
    key: Key,
    purpose: Purpose,
    /// By the clock that never goes back: when it was last put.
    renewed: Duration,
}

impl<'a> Held<'a> {
    pub async fn put(store: &'a dyn Store, purpose: Purpose, ctx: &'a Ctx) -> Result<Held<'a>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let began = ctx.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let once = (began.as_nanos(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed), &purpose);
        let id = Digest::of(format!("{once:?}").as_bytes()).to_string();
        let key = Key::new(format!("{FOLDER}{}.json", &id[..16]))?;
        let mut held = Held { store, ctx, key, purpose, renewed: Duration::ZERO };
        held.renew().await?;
        Ok(held)
    }

    /// Says it again.
    pub async fn renew(&mut self) -> Result<()> {
        // Before the put: what counts for others is later.
        self.renewed = self.ctx.clock.now();
        let bytes = to_json(&Intent { format: FORMAT, purpose: self.purpose.clone() })?;
        self.store.put(&self.key, Body::Bytes(&bytes), Caching::Revalidate, Precondition::None).await?;
        Ok(())
    }

    /// Says something else from now on.
    pub async fn change(&mut self, purpose: Purpose) -> Result<()> {
        self.purpose = purpose;
        self.renew().await
    }

    /// To be called before every deletion: others take a deleter who was silent for [`DELETER_LIVES`] for dead, and no
    /// longer wait for him.
    pub async fn still(&mut self) -> Result<()> {
        self.ctx.check()?;
        match self.ctx.clock.now().saturating_sub(self.renewed) {
            silent if silent < DELETER_LIVES / 4 => Ok(()),
            silent if silent < DELETER_LIVES / 2 => self.renew().await,
            silent => Err(Error::new(Kind::Unavailable, format!("the store did not answer for {} s", silent.as_secs()))
                .hint("run the same command again: it goes on from what is done")),
        }
    }

    /// The store's time, and all others.
    pub async fn others(&self) -> Result<(SystemTime, Vec<Found>)> {
        let listed = self.store.list(FOLDER).await?;
        let Some(now) = listed.iter().find(|l| l.key == self.key).map(|l| l.modified) else {
            return Err(Error::new(Kind::Unavailable, format!("{} does not have {}, which it took", self.store.describe(), self.key))
                .hint("run the same command again; if it happens again, this service loses what it acknowledges"));
        };
        Ok((now, read(self.store, listed.into_iter().filter(|l| l.key != self.key).collect(), now).await?))
    }

    /// To be called before every lecture is sent, with its objects: sending may take days, and what the store has of them
    /// already may be as old as nobody else's.
    pub async fn still_publishing<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> Result<()> {
        let mut more = false;
        if let Purpose::Publish { objects, .. } = &mut self.purpose {
            let mut all: BTreeSet<String> = std::mem::take(objects).into_iter().collect();
            for key in keys {
                more |= all.insert(key.to_string());
            }
            *objects = all.into_iter().collect();
        }
        match more || self.ctx.clock.now().saturating_sub(self.renewed) > RENEWED {
            true => self.renew().await,
            false => Ok(()),
        }
    }

    /// Until nobody deletes who may not have seen this intent as it is now.
    pub async fn wait_for_deleters(&mut self) -> Result<()> {
        let mut said = false;
        loop {
            self.ctx.check()?;
            if !self.others().await?.1.iter().any(Found::deletes) {
                return Ok(());
            }
            if !said {
                self.ctx.note("somebody prunes the store, or withdraws a lecture, at this moment; waiting until it is done");
                said = true;
            }
            tokio::select! { biased; () = self.ctx.cancel.cancelled() => {}, () = self.ctx.clock.sleep(PATIENCE) => {} }
            // Again: the store's time is told by it.
            self.renew().await?;
        }
    }

    /// For a deleter: nobody else deletes, one aside who withdrew the same lecture: he was cut short, or does the same. Gives the store's time, and the others.
    pub async fn alone(&self) -> Result<(SystemTime, Vec<Found>)> {
        let (now, others) = self.others().await?;
        match others.iter().find(|f| f.deletes() && !self.goes_on_from(f)) {
            None => Ok((now, others)),
            Some(other) => Err(Error::new(
                Kind::Conflict,
                format!("somebody else prunes {}, or withdraws a lecture, at this moment", self.store.describe()),
            )
            .hint(format!(
                "try again when it is done; {} of one that was killed counts for {} minutes",
                other.key,
                DELETER_LIVES.as_secs() / 60
            ))),
        }
    }

    /// The same withdrawal.
    fn goes_on_from(&self, other: &Found) -> bool {
        match (&self.purpose, &other.purpose) {
            (Purpose::Withdraw { course, lecture, .. }, Some(Purpose::Withdraw { course: other_course, lecture: other_lecture, .. })) => {
                (course, lecture) == (other_course, other_lecture)
            }
            _ => false,
        }
    }

    /// It is done, or given up.
    pub async fn done(self) -> Result<()> {
        self.store.delete(&self.key).await
    }
}

/// What lies in the folder, at the store's time `now`.
pub(super) async fn read(store: &dyn Store, listed: Vec<Listed>, now: SystemTime) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for Listed { key, modified, .. } in listed {
        // Its owner may have removed it by now.
        let Some(bytes) = get_if_there(store, &key).await? else { continue };
        let purpose = from_json::<Intent>(&bytes, &key).ok().map(|i| i.purpose);
        let lives = purpose.as_ref().map_or(PUBLISHER_LIVES, Purpose::lives);
        let stale = now.duration_since(modified).is_ok_and(|age| age > lives);
        all.push(Found { key, purpose, stale });
    }
    Ok(all)
}

/// What living publishers need: releases of courses, and objects.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub releases: BTreeSet<(String, u64)>,
    pub objects: BTreeSet<String>,
}

/// Fails (`Conflict`) where a living intent cannot be read: it may need anything.
pub(super) async fn needs(store: &dyn Store, others: &[Found]) -> Result<Needs> {
    let mut needs = Needs::default();
    for found in others.iter().filter(|f| !f.stale) {
        match &found.purpose {
            Some(Purpose::Publish { course, over, releases, objects }) => {
                // Somebody else has moved the pointer: that flip will fail.
                if store.head(&current_key(course)?).await?.map(|m| m.version) != *over {
                    continue;
                }
                needs.releases.extend(releases.iter().map(|n| (course.clone(), *n)));
                needs.objects.extend(objects.iter().cloned());
            }
            Some(_) => {}
            None => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("{} cannot be read: nobody knows what its writer is about to publish", found.key),
                )
                .hint("it was written by a newer rivulet, or is damaged: use the newer one, or delete that object when nobody publishes"));
            }
        }
    }
    Ok(needs)
}
