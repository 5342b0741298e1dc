//! Archives that somebody made on purpose: they end in a clear error, write nothing outside of their folder, and cost no
//! more memory than a good one.

mod world;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Archive, Quiet, verify};
use ids::BackupId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use world::{Target, World, chain};

/// Puts something in the place of a file.
type Put<'a> = &'a dyn Fn(&Path);

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A backup that can be forged.
struct Forgery {
    world: World,
    folder: PathBuf,
    id: BackupId,
    honest: Value,
}

impl Forgery {
    async fn begin() -> Self {
        let world = World::filled(4).await;
        let id = world.backed_up().await.id();
        let folder = world.archive_folder().join(format!("backups/{id}"));
        let honest = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
        Self { world, folder, id, honest }
    }

    /// Puts a manifest there, with its right sum.
    fn put(&self, manifest: &[u8]) {
        fs::write(self.folder.join("manifest.json"), manifest).unwrap();
        fs::write(self.folder.join("manifest.sha256"), format!("{}  manifest.json\n", hash(manifest))).unwrap();
    }

    fn forge(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.honest.clone();
        change(&mut manifest);
        self.put(&serde_json::to_vec(&manifest).unwrap());
    }

    /// Writes a file of the backup and has the manifest name it rightly.
    fn forge_file(&self, name: &str, content: &[u8], change: impl FnOnce(&mut Value)) {
        fs::write(self.folder.join(name), content).unwrap();
        self.forge(|manifest| {
            let files = manifest["files"].as_array_mut().unwrap();
            let entry = files.iter_mut().find(|entry| entry["path"] == name).unwrap();
            (entry["size"], entry["sha256"]) = (json!(content.len()), json!(hash(content)));
            change(manifest);
        });
    }

    /// What a user is told who verifies it.
    async fn told(&self) -> String {
        let look = async {
            let archive = Archive::open(&self.world.archive_folder()).map_err(|error| chain(&error))?;
            let backup = archive.read(self.id).map_err(|error| chain(&error))?;
            for probe in &backup.manifest.probes {
                backup.probe_rows::<Value>(&probe.name).map_err(|error| chain(&error))?;
            }
            verify(&backup, Arc::new(Quiet)).await.map_err(|error| chain(&error)).map(drop)
        };
        look.await.expect_err("a forged archive is refused")
    }

    fn names(&self, path: &str) -> bool {
        self.honest["files"].as_array().unwrap().iter().any(|entry| entry["path"] == path)
    }
}

#[tokio::test]
async fn a_manifest_that_names_files_elsewhere_reads_and_writes_nothing_there() {
    let forgery = Forgery::begin().await;
    let target = Target::fresh().await;
    let outside = forgery.world.archive_folder().join("outside");
    fs::write(&outside, "outside").unwrap();
    for path in ["../../outside", outside.to_str().unwrap(), "probes/../../../outside", ""] {
        forgery.forge(|manifest| {
            let entry = json!({"path": path, "size": 7, "sha256": hash(b"outside")});
            manifest["files"].as_array_mut().unwrap().push(entry);
        });
        let told = forgery.told().await;
        assert!(told.contains("outside of its folder"), "{path}: {told}");
    }
    for key in ["../climbs", "/tmp/climbs", "orgs/../../climbs", "orgs//climbs"] {
        let line = json!({"blob_key": key, "size": 0, "sha256": hash(b"")}).to_string();
        forgery.forge_file("blobs.jsonl", line.as_bytes(), |manifest| {
            (manifest["blobs"]["count"], manifest["blobs"]["bytes"]) = (json!(1), json!(0));
        });
        assert!(forgery.told().await.contains("is no object"), "{key}");
        let backup = Archive::open(&forgery.world.archive_folder()).unwrap().read(forgery.id).unwrap();
        target.restore(&backup).await.unwrap_err();
        target.assert_untouched().await;
    }
}

#[tokio::test]
async fn links_pipes_and_devices_in_the_place_of_files_are_refused_and_not_opened() {
    let forgery = Forgery::begin().await;
    let archive = forgery.world.archive_folder();
    let blob =
        walkdir::WalkDir::new(archive.join("blobs")).into_iter().flatten().find(|entry| entry.file_type().is_file());
    let places = ["manifest.json", "manifest.sha256", "database.dump", "blobs.jsonl", "probes/sessions.jsonl"];
    let places = places.map(|name| forgery.folder.join(name)).into_iter();
    for place in places.chain([archive.join("archive.json"), blob.unwrap().into_path()]) {
        let healthy = fs::read(&place).unwrap();
        let kept = archive.join("kept");
        fs::write(&kept, &healthy).unwrap();
        let put: [(&str, Put<'_>); 4] = [
            ("a link to the same", &|path| symlink(&kept, path).unwrap()),
            ("a device", &|path| symlink("/dev/zero", path).unwrap()),
            ("a circle", &|path| symlink(path, path).unwrap()),
            ("a pipe", &|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ];
        for (what, put) in put {
            fs::remove_file(&place).unwrap();
            put(&place);
            let told = forgery.told().await;
            let name = place.file_name().unwrap().to_str().unwrap();
            assert!(told.contains("no plain file") && told.contains(name), "{what} for {name}: {told}");
        }
        fs::remove_file(&place).unwrap();
        fs::write(&place, healthy).unwrap();
    }
}

#[tokio::test]
async fn bombs_huge_counts_and_wrong_types_end_in_a_clear_error() {
    let forgery = Forgery::begin().await;
    let manifest = forgery.folder.join("manifest.json");
    // A file that claims a terabyte costs nothing to make, and nothing to refuse.
    fs::File::create(&manifest).unwrap().set_len(1 << 40).unwrap();
    assert!(forgery.told().await.contains("too large"));
    for nonsense in [&b"[".repeat(1 << 20)[..], b"{", b"null", b"\xff\xfe", b"7"] {
        forgery.put(nonsense);
        assert!(forgery.told().await.contains("manifest.json is damaged"));
    }
    for wrong in [json!([]), json!("x"), json!(-1), json!(1e300), json!({}), Value::Null] {
        for field in ["tables", "backup_id", "blobs", "files", "probes", "snapshot", "system"] {
            if (field == "tables" || field == "files" || field == "probes") && wrong == json!([]) {
                continue;
            }
            forgery.forge(|manifest| manifest[field] = wrong.clone());
            assert!(forgery.told().await.contains("manifest.json is damaged"), "{field} is {wrong}");
        }
    }
    forgery.forge(|manifest| manifest["novelty"] = json!(1));
    assert!(forgery.told().await.contains("unknown field"));

    let honest = fs::read(forgery.folder.join("blobs.jsonl")).unwrap();
    forgery.forge_file("blobs.jsonl", &vec![0; 3 << 20], |_| {});
    assert!(forgery.told().await.contains("too long"));
    let most = json!({"blob_key": "orgs/a/g1/x", "size": u64::MAX, "sha256": hash(b"")}).to_string();
    forgery.forge_file("blobs.jsonl", format!("{most}\n{most}\n").as_bytes(), |manifest| {
        manifest["blobs"]["bytes"] = json!(u64::MAX);
    });
    assert!(forgery.told().await.contains("its count or bytes"));
    forgery.forge_file("blobs.jsonl", &honest, |manifest| {
        for file in manifest["files"].as_array_mut().unwrap() {
            file["size"] = json!(u64::MAX);
        }
    });
    assert!(forgery.told().await.contains("bytes instead of"));
    assert!(forgery.names("probes/sessions.jsonl"));
    forgery.forge_file("probes/sessions.jsonl", b"{\"a\":1}\nnot json\n", |_| {});
    assert!(forgery.told().await.contains("line 2"));
}
