//! How a package takes its place: built in a directory beside it, checked, moved in one step. Never half a package under its
//! name, never somebody else's files touched.

use crate::check::{Target, check};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::Package;
use crate::plan::Plan;
use crate::progress::Ctx;
use crate::units::Digest;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "package.json";
/// The folders that a package has.
const FOLDERS: [&str; 1] = ["slides"];

/// The package at `dir`, where there is one.
pub fn read(dir: &Path) -> Option<Package> {
    serde_json::from_slice(&fs::read(dir.join(MANIFEST)).ok()?).ok()
}

/// An output directory may be new, empty, or an earlier package; anything else is not ours to replace.
pub fn refuse_foreign(out: &Path, recordings: &[PathBuf]) -> Result<()> {
    if recordings.iter().any(|r| r.starts_with(out)) {
        return Err(Error::usage(format!("{} holds the recording itself", out.display())).hint("choose another directory for the package"));
    }
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::usage(format!("{} is a file, not a directory", out.display())));
        }
        Err(e) => return Err(e).doing(|| format!("cannot look into {}", out.display())),
    };
    let package = read(out);
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = |name: &str| package.as_ref().is_some_and(|p| p.files.contains_key(name));
        // `slides/` is the one folder of a package; what is in it must be the package's too.
        let name = match entry.file_type().is_ok_and(|t| t.is_dir()) && FOLDERS.contains(&name.as_str()) {
            false => name,
            true => {
                let inside = fs::read_dir(entry.path()).doing(|| format!("cannot look into {}", entry.path().display()))?;
                let foreign = inside.flatten().map(|e| format!("{name}/{}", e.file_name().to_string_lossy())).find(|inner| !ours(inner));
                let Some(foreign) = foreign else { continue };
                foreign
            }
        };
        if name != MANIFEST && !ours(&name) {
            return Err(Error::usage(format!("{} holds {name}, which is no part of a package", out.display()))
                .hint("choose an empty or new directory; Rivulet removes nothing that it did not make"));
        }
    }
    Ok(())
}

/// The package of this very plan, whole to the byte.
pub fn already_there(out: &Path, plan: &Plan) -> Result<Option<Package>> {
    let Some(package) = read(out).filter(|p| p.plan == plan.digest) else { return Ok(None) };
    for (name, entry) in &package.files {
        let whole = File::open(out.join(name)).and_then(Digest::of_reader).is_ok_and(|found| found == (entry.sha256, entry.bytes));
        if !whole {
            return Ok(None);
        }
    }
    Ok(Some(package))
}

/// Builds with `make` beside `out` and moves the result to `out`.
pub fn build(out: &Path, plan: &Digest, make: impl FnOnce(&Path) -> Result<Package>) -> Result<Package> {
    let out = std::path::absolute(out).doing(|| format!("cannot resolve {}", out.display()))?;
    let parent = out.parent().ok_or_else(|| Error::usage("the root directory cannot be a package"))?;
    fs::create_dir_all(parent).doing(|| format!("cannot make {}", parent.display()))?;
    // Another run may build for the same place under a name of its own; what killed runs left is swept.
    let name = format!(".{}.", out.file_name().unwrap_or_default().to_string_lossy());
    sweep(parent, &name);
    let stage = parent.join(format!("{name}{}.{}.partial", plan.short(), std::process::id()));
    fs::create_dir(&stage).doing(|| format!("cannot make {}", stage.display()))?;
    // The directory itself is locked: a kill frees it.
    let lock = File::open(&stage).doing(|| format!("cannot open {}", stage.display()))?;
    lock.try_lock().map_err(|e| Error::failed(format!("cannot lock {}", stage.display())).caused_by(e.to_string()))?;
    let outcome = make(&stage).and_then(|package| {
        let package = conform(&stage, package)?;
        // Somebody may have put a file of his own there in the hours since the start.
        refuse_foreign(&out, &[])?;
        place(&stage, &out)?;
        Ok(package)
    });
    // After a failure it is half a package; after an exchange it is the old one, of which only our own files are removed.
    match &outcome {
        Ok(_) => remove_package(&stage),
        Err(_) => remove_all(&stage),
    }
    drop(lock);
    let package = outcome?;
    File::open(parent).and_then(|d| d.sync_all()).doing(|| format!("cannot sync {}", parent.display()))?;
    Ok(package)
}

/// Writes package.json, checks the package as a stranger would, and declares what it deviates in.
fn conform(stage: &Path, mut package: Package) -> Result<Package> {
    let write = |package: &Package| {
        let text = serde_json::to_vec_pretty(package).map_err(|e| Error::bug("a package does not serialise").caused_by(e))?;
        crate::workdir::write_whole(&stage.join(MANIFEST), |out| out.write_all(&text))
    };
    write(&package)?;
    let report = check(&Target::Directory(stage.to_path_buf()), &Ctx::silent())?;
    let declared = crate::check::deviations::of(&report, &package)?;
    package.deviations = declared.deviations;
    package.warnings.extend(declared.undeclared);
    write(&package)?;
    Ok(package)
}

fn place(stage: &Path, out: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    let doing = || format!("cannot move the package to {}", out.display());
    let moved = match renameat_with(CWD, stage, CWD, out, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => renameat_with(CWD, stage, CWD, out, RenameFlags::EXCHANGE),
        other => other,
    };
    match moved {
        // File systems without these flags (NFS, some shares): the old package steps aside for a moment.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let aside = stage.with_extension("old.partial");
            if out.exists() {
                fs::rename(out, &aside).doing(doing)?;
            }
            fs::rename(stage, out).doing(doing)?;
            remove_package(&aside);
            Ok(())
        }
        moved => moved.map_err(|e| Error::new(Kind::Failed, doing()).caused_by(e)),
    }
}

/// Removes what killed runs left beside `out`: directories of our naming that nobody holds.
fn sweep(parent: &Path, name: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        if !found.starts_with(name) || !found.ends_with(".partial") {
            continue;
        }
        let held = File::open(entry.path()).is_ok_and(|f| f.try_lock().is_err());
        match held {
            true => {}
            // The old package after an exchange, or one that was about to be placed.
            false if entry.path().join(MANIFEST).exists() => remove_package(&entry.path()),
            false => remove_all(&entry.path()),
        }
    }
}

/// Removes a stage that holds nothing but what this program wrote. Left-overs cost disk, no more: no error.
fn remove_all(stage: &Path) {
    let _ = fs::remove_dir_all(stage);
}

/// Removes a package's own files, and its directory if nothing else is in it.
fn remove_package(dir: &Path) {
    if let Some(package) = read(dir) {
        for name in package.files.keys() {
            let _ = fs::remove_file(dir.join(name));
        }
        let _ = fs::remove_file(dir.join(MANIFEST));
        for folder in FOLDERS {
            let _ = fs::remove_dir(dir.join(folder));
        }
    }
    let _ = fs::remove_dir(dir);
}
