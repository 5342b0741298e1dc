//! Both formats of a manifest: what older builds wrote opens, and they open what needs nothing newer.

use super::*;

const ONE: &[u8] = b"cowork checkpoint 1\n";
const TWO: &[u8] = b"cowork checkpoint 2\n";

impl World {
    fn aad(&self, line: &[u8]) -> Vec<u8> {
        let ids = [self.name.org.as_uuid(), self.name.session.as_uuid(), self.name.checkpoint.as_uuid()];
        ids.iter().fold(line.to_vec(), |aad, id| [&aad[..], id.as_bytes()].concat())
    }

    /// A manifest as builds wrote it that knew no links: letter by letter, and what was said `more`.
    async fn written(&self, line: &[u8], more: &str) -> Blob {
        fs::remove_dir_all(self.workspace()).unwrap();
        fs::create_dir(self.workspace()).unwrap();
        fs::write(self.workspace().join("x"), "hello").unwrap();
        let object = &self.save().await.files[0];
        let (key, size, sha256) = (&object.key, object.size, hex::encode(object.sha256));
        let file = format!(
            r#"{{"path":"old/x","mode":420,"size":5,"blob_key":"{key}","blob_size":{size},"blob_sha256":"{sha256}"}}"#
        );
        let json = format!(r#"{{"sequence":9,"state":{{"turns":2}},"folders":["old"],"files":[{file}]{more}}}"#);
        let sealed = self.key.seal(&self.aad(line), &zstd::bulk::compress(json.as_bytes(), 1).unwrap());
        self.objects.put("orgs/written", [line, &sealed].concat().into()).await.unwrap()
    }

    /// Its first line, and what it says.
    async fn wrote(&self) -> (Vec<u8>, serde_json::Value) {
        let bytes = self.objects.get(&self.save().await.manifest.key).await.unwrap();
        let (line, sealed) = bytes.split_at(ONE.len());
        let json = zstd::bulk::decompress(&self.key.open(&self.aad(line), sealed).unwrap(), 1 << 20).unwrap();
        (line.to_vec(), serde_json::from_slice(&json).unwrap())
    }
}

#[tokio::test]
async fn what_a_build_without_links_wrote_opens() {
    let world = world();
    let manifest = world.written(ONE, "").await;
    assert_eq!(world.open(&manifest).await.unwrap(), World::saved());
    assert_eq!(fs::read_to_string(world.workspace().join("old/x")).unwrap(), "hello");
}

#[tokio::test]
async fn a_workspace_without_links_is_written_as_builds_before_them_read_it() {
    let world = world();
    let (line, says) = world.wrote().await;
    let fields: Vec<&String> = says.as_object().unwrap().keys().collect();
    assert_eq!(
        (&line[..], fields),
        (ONE, ["files", "folders", "sequence", "state"].map(String::from).iter().collect())
    );
}

#[tokio::test]
async fn one_with_a_link_is_of_the_second_format() {
    let world = world();
    std::os::unix::fs::symlink("a", world.workspace().join("link")).unwrap();
    let (line, says) = world.wrote().await;
    assert_eq!((&line[..], &says["links"]), (TWO, &json!([{"path": "link", "target": "a"}])));
}

#[tokio::test]
async fn a_format_says_what_it_has_and_no_other_is_read() {
    let link = r#","links":[{"path":"l","target":"x"}]"#;
    for (line, more, opens) in [
        (TWO, link, true),
        (TWO, "", true),
        (ONE, link, false),
        (ONE, r#","more":1"#, false),
        (TWO, r#","more":1"#, false),
    ] {
        let world = world();
        let manifest = world.written(line, more).await;
        let opened = world.verify(&manifest).await;
        assert_eq!(opened.is_ok(), opens, "{opened:?}");
        assert!(opens || matches!(opened, Err(OpenError::Manifest(_))));
    }
    let world = world();
    let manifest = world.written(b"cowork checkpoint 3\n", "").await;
    assert!(matches!(world.open(&manifest).await, Err(OpenError::Manifest(_))));
}
