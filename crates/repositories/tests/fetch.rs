//! A real git, and a real server of a repository, on this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use domain::egress::Egress;
use projects::unpack;
use repositories::{Address, Credential, FetchError, Fetched, Reference, Repositories, Wanted};
use testkit::{GIT_USERNAME, GitRepository, GitServer, wait_until};

struct World {
    repository: GitRepository,
    server: GitServer,
    secret: String,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = GitRepository::create(folder.path());
        let secret = testkit::system_sources().id::<uuid::Uuid>().to_string();
        let server = GitServer::start(folder.path(), &secret).await;
        Self { repository, server, secret, folder }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = self.repository.tree().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    fn work(&self) -> std::path::PathBuf {
        let work = self.folder.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        work
    }

    fn repositories(&self, within: Duration) -> Repositories {
        let egress = Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
        Repositories::within(egress, self.work(), within)
    }

    async fn fetch(&self, name: &str, reference: &str) -> Result<Fetched, FetchError> {
        self.fetch_with(name, reference, None).await
    }

    async fn fetch_with(&self, name: &str, reference: &str, secret: Option<&str>) -> Result<Fetched, FetchError> {
        let credential =
            secret.map(|secret| Credential { username: GIT_USERNAME.into(), secret: secret.to_owned().into() });
        let address = Address::read(&self.server.address(name)).unwrap();
        let wanted = Wanted { address, reference: Reference::read(reference).unwrap(), credential };
        let fetched = self.repositories(Duration::from_secs(60)).fetch(&wanted).await;
        assert!(self.left().is_empty(), "nothing is left of a fetch: {:?}", self.left());
        fetched
    }

    /// Processes that were begun for a fetch of this world: their home is below its folder.
    fn running(&self) -> usize {
        let home = self.work().into_os_string().into_encoded_bytes();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let told = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
        told.filter(|told| told.windows(home.len()).any(|part| part == home)).count()
    }

    /// What fetches have left behind.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.work()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn files(fetched: &Fetched) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    unpack(&fetched.packed.content, folder.path()).unwrap();
    let mut files = BTreeMap::new();
    read(folder.path(), folder.path(), &mut files);
    files
}

fn read(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
}

#[tokio::test]
async fn a_branch_a_tag_and_a_commit_lead_to_their_files() {
    let world = World::new().await;
    world.write("src/main.py", "one");
    let first = world.repository.commit();
    world.repository.git(&["tag", "--annotate", "--message=one", "v1"]);
    world.write("src/main.py", "two");
    let second = world.repository.commit();
    world.repository.git(&["branch", "feature/größe"]);
    for (reference, commit, content) in [
        ("main", &second, "two"),
        ("HEAD", &second, "two"),
        ("refs/heads/main", &second, "two"),
        ("feature/größe", &second, "two"),
        ("v1", &first, "one"),
        (first.as_str(), &first, "one"),
    ] {
        let fetched = world.fetch("shop.git", reference).await.unwrap();
        assert_eq!(&fetched.commit, commit, "{reference}");
        assert_eq!(files(&fetched), BTreeMap::from([("src/main.py".to_owned(), content.to_owned())]), "{reference}");
    }
    let (one, other) = (world.fetch("shop.git", "main").await.unwrap(), world.fetch("shop.git", "main").await.unwrap());
    assert_eq!(one.packed, other.packed);
}

#[tokio::test]
async fn secrets_submodules_and_links_that_lead_out_are_left_out_and_told() {
    let world = World::new().await;
    world.write("a.txt", "a");
    world.write(".env", "KEY=1");
    std::os::unix::fs::symlink("/etc/passwd", world.repository.tree().join("link")).unwrap();
    std::os::unix::fs::symlink("a.txt", world.repository.tree().join("to-a")).unwrap();
    world.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = http://127.0.0.1:1/x.git\n");
    let head = world.repository.commit();
    world.repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub")]);
    world.repository.git(&["commit", "--quiet", "--message=submodule"]);
    let fetched = world.fetch("shop.git", "main").await.unwrap();
    let left: Vec<&str> = fetched.packed.left_out.iter().map(|left| left.path.as_str()).collect();
    assert_eq!(left, [".env", "link"]);
    assert_eq!(files(&fetched).keys().collect::<Vec<_>>(), [".gitmodules", "a.txt", "to-a"]);
}

#[tokio::test]
async fn a_filter_of_the_repository_is_not_carried_out() {
    let world = World::new().await;
    world.write("a.txt", "a");
    world.write(".gitattributes", "* filter=lfs\na.txt filter=evil\n");
    let _ = world.repository.commit();
    let fetched = world.fetch("shop.git", "main").await.unwrap();
    assert_eq!(files(&fetched)["a.txt"], "a");
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let world = World::new().await;
    world.write("a.txt", "a");
    let _ = world.repository.commit();
    assert!(matches!(world.fetch("shop.git", "nowhere").await, Err(FetchError::NoReference)));
    assert!(matches!(world.fetch("shop.git", &"0a".repeat(20)).await, Err(FetchError::NoReference)));
    assert!(matches!(world.fetch("other.git", "main").await, Err(FetchError::NoRepository)));
}

#[tokio::test]
async fn a_credential_is_for_the_server_and_for_nobody_else() {
    let world = World::new().await;
    world.write("a.txt", "a");
    let _ = world.repository.commit();
    assert!(matches!(world.fetch("private.git", "main").await, Err(FetchError::NoRepository)));
    let wrong = world.fetch_with("private.git", "main", Some("wrong")).await;
    assert!(matches!(wrong, Err(FetchError::Unauthorised)), "{wrong:?}");
    let fetched = world.fetch_with("private.git", "main", Some(&world.secret)).await.unwrap();
    assert_eq!(files(&fetched)["a.txt"], "a");
    assert!(world.server.seen().iter().all(|line| !line.contains(&world.secret)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::new().await;
    assert!(matches!(world.fetch("moved.git", "main").await, Err(FetchError::Redirected)));
    assert_eq!(world.server.seen().len(), 1);
}

#[tokio::test]
async fn what_is_larger_than_may_be_is_not_taken() {
    let world = World::new().await;
    // What can't be compressed: hashes of hashes.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    })
    .take(70 << 20)
    .collect();
    world.repository.git(&["config", "core.compression", "0"]);
    world.write("noise", noise);
    let _ = world.repository.commit();
    let refused = world.fetch("shop.git", "main").await;
    assert!(matches!(refused, Err(FetchError::TooLarge)), "{refused:?}");
}

#[tokio::test]
async fn files_that_unpack_to_more_than_may_be_are_not_taken() {
    let world = World::new().await;
    world.write("zeros", vec![0; 65 << 20]);
    let _ = world.repository.commit();
    assert!(matches!(world.fetch("shop.git", "main").await, Err(FetchError::Pack(_))));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let world = World::new().await;
    let address = Address::read(&world.server.address("silent.git")).unwrap();
    let wanted = Wanted { address, reference: Reference::head(), credential: None };
    let refused = world.repositories(Duration::from_millis(1_500)).fetch(&wanted).await;
    assert!(matches!(refused, Err(FetchError::TooLong)), "{refused:?}");
    assert_eq!(world.server.seen().len(), 1);
    wait_until("git and all that it started is gone", || async { world.running() == 0 && world.left().is_empty() })
        .await;
}

#[tokio::test]
async fn nothing_is_called_that_may_not_be_and_nothing_by_a_copy_for_a_drill() {
    let world = World::new().await;
    let wanted = || Wanted {
        address: Address::read(&world.server.address("shop.git")).unwrap(),
        reference: Reference::head(),
        credential: None,
    };
    let guarded = Repositories::over(Egress::default(), world.work());
    assert!(matches!(guarded.fetch(&wanted()).await, Err(FetchError::NotCalled)));
    assert!(matches!(Repositories::none().fetch(&wanted()).await, Err(FetchError::Drill)));
    assert!(world.server.seen().is_empty());
}
