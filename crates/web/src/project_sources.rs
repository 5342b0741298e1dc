//! Project sources: what workspaces of sessions begin with.
//!
//! An archive comes in as an upload of its own, in parts, and is read here to its end, with limits, before anything is made of it
//! (crate `projects`). Either the whole is refused, and the answer says what of it, or it is packed anew without what does not
//! belong into a workspace, and the answer says what that was. What came in is not kept.
//!
//! Or the files of one commit are fetched from a repository, while whoever asks waits: a minute at most. A process that dies meanwhile
//! leaves nothing behind and has kept nothing, the credential least of all; whoever asked asks again (decision 0090).
//!
//! One archive of a process is read at a time: it is held in memory. And one repository is fetched at a time.
//!
//! Not here: receiving parts (`uploads`), fetching (crate `repositories`), unpacking (`worker`).

use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use clock::Timestamp;
use domain::upload::parts;
use ids::{ProjectSourceId, UploadId};
use objects::{Blob, ObjectKeys};
use projects::{ARCHIVE_MAX, LeftOut, PackError, Packed, Refusal, pack};
use repositories::{Address, Credential, FetchError, Fetched, Reference, Wanted};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{BlobRow, NewProjectSource, ProjectSource, ProjectSourceError, SourceOrigin, SourceRepository, Upload};
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::{Json, Path, Query};
use crate::page::{Page, Paging};
use crate::problem::Problem;
use crate::text::{Name, Text};
use crate::uploads;

/// Refused entries that an answer names.
const NAMED: usize = 10;

static READING: Semaphore = Semaphore::const_new(1);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(view, delete))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectSource)]
struct ProjectSourceView {
    project_source_id: ProjectSourceId,
    name: String,
    /// Of what came in: `tar.gz`, `zip`, or `git`: the files of a commit.
    format: String,
    files: i32,
    /// Of all files, unpacked.
    bytes: i64,
    /// The first hundred entries of the archive that no workspace gets.
    left_out: Vec<LeftOutView>,
    left_out_count: i32,
    /// What it was fetched from. `null`: it was uploaded.
    repository: Option<SourceRepositoryView>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceRepository)]
struct SourceRepositoryView {
    url: String,
    /// Branch, tag or commit, as it was asked for.
    #[serde(rename = "ref")]
    reference: String,
    /// What that led to when it was fetched.
    commit: String,
}

impl From<SourceRepository> for SourceRepositoryView {
    fn from(repository: SourceRepository) -> Self {
        let SourceRepository { url, reference, commit } = repository;
        Self { url, reference, commit }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeftOut)]
struct LeftOutView {
    path: String,
    /// For people.
    why: String,
}

impl From<ProjectSource> for ProjectSourceView {
    fn from(source: ProjectSource) -> Self {
        Self {
            project_source_id: source.project_source_id,
            name: source.name,
            format: source.format,
            files: source.files,
            bytes: source.bytes,
            left_out: source.left_out.into_iter().map(|(path, why)| LeftOutView { path, why }).collect(),
            left_out_count: source.left_out_count,
            repository: source.repository.map(SourceRepositoryView::from),
            created_at: source.created_at,
        }
    }
}

// No `Debug`: it may hold a credential.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewProjectSource, example = json!({"name": "shop", "upload_id": "0192a000-0000-7000-8000-0000000000a1"}))]
#[serde(
    untagged,
    expecting = "it has a name of 1 to 200 characters to be seen, and either an upload_id or a repository with its url"
)]
enum Create {
    Uploaded(CreateOfUpload),
    Fetched(CreateOfRepository),
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewProjectSourceOfUpload)]
#[serde(deny_unknown_fields)]
struct CreateOfUpload {
    #[schema(inline)]
    name: Name,
    /// All of its parts are there. It is gone when the source is made.
    upload_id: UploadId,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = NewProjectSourceOfRepository)]
#[serde(deny_unknown_fields)]
struct CreateOfRepository {
    #[schema(inline)]
    name: Name,
    repository: WantedRepository,
}

/// Its address, with https and without a user, a query or a fragment; and in `ref` a branch, a tag or a whole commit id, or what the
/// server's `HEAD` leads to without one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WantedRepository {
    #[schema(inline)]
    url: Text<1, 2_000>,
    #[serde(rename = "ref")]
    #[schema(inline)]
    reference: Option<Text<1, 200>>,
    /// It is told to the server once, and not kept.
    credential: Option<RepositoryCredential>,
}

/// A user's name, which servers that look at a token alone don't heed, and a password or a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RepositoryCredential {
    #[serde(default = "any_username")]
    #[schema(inline)]
    username: Text<1, 200>,
    #[schema(inline)]
    secret: Text<1, 4_096>,
}

fn any_username() -> Text<1, 200> {
    Text::literal("git")
}

impl From<ProjectSourceError> for Problem {
    fn from(error: ProjectSourceError) -> Self {
        match error {
            ProjectSourceError::NoSuch => Self::not_found("project source"),
            ProjectSourceError::NoSuchUpload => Self::not_found("upload"),
            ProjectSourceError::Complete => Self::conflict("the upload is complete: begin another one"),
            ProjectSourceError::Needed => Self::conflict(
                "a session that was not prompted yet begins with it: prompt the session first, or erase it",
            ),
            ProjectSourceError::Store(error) => error.into(),
        }
    }
}

/// Makes a project source of an archive that was uploaded, a `tar.gz` or a `zip`; or of the files of one commit of a git repository,
/// which is fetched while the request waits, for a minute at most.
///
/// At most 64 MiB, 256 MiB unpacked, 20,000 entries, 64 MiB a file. Secrets by their names, histories of repositories and the like
/// are left out, and told in the answer; of a repository so are submodules and links that lead out of it; links that stay inside are kept. No redirect is followed, and the address has to
/// be public, unless an operator allows its network. A credential is used once and not kept.
#[utoipa::path(
    post,
    path = "/api/project-sources",
    operation_id = "project_source_create",
    tag = "project sources",
    request_body = Create,
    responses((status = 201, description = "Sessions can begin with it.", body = ProjectSourceView), (status = 409, description = "Parts are missing, or they do not have the SHA-256 that was declared."), (status = 422, description = "The archive is refused (`archive_refused`), and `detail` says what of it; the repository is not fetched (`repository_refused`), and `detail` says why; its address is not called from here (`destination_refused`); or the request can't be carried out as it is written otherwise.")),
    security(("token" = ["artifacts.write"])),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<Create>,
) -> Result<(StatusCode, Json<ProjectSourceView>), Problem> {
    let source = match new {
        Create::Uploaded(new) => of_upload(&app, &caller, &new).await?,
        Create::Fetched(new) => of_repository(&app, &caller, new).await?,
    };
    Ok((StatusCode::CREATED, Json(find(&app, &caller, source).await?.into())))
}

async fn of_upload(app: &App, caller: &Caller, new: &CreateOfUpload) -> Result<ProjectSourceId, Problem> {
    let upload = uploads::find(app, caller.org, new.upload_id).await?;
    let packed = {
        let _alone = READING.acquire().await.map_err(Problem::internal)?;
        let archive = archive(app, &upload).await?;
        tokio::task::spawn_blocking(move || pack(&archive)).await.map_err(Problem::internal)?
    };
    let packed = packed.map_err(|error| refused(&error, "pack it without that, and upload it again"))?;
    keep(app, caller, new.name.trimmed(), packed, SourceOrigin::Upload(upload.upload_id)).await
}

async fn of_repository(app: &App, caller: &Caller, new: CreateOfRepository) -> Result<ProjectSourceId, Problem> {
    let WantedRepository { url, reference, credential } = new.repository;
    let address = Address::read(&url.trimmed()).map_err(|error| Problem::invalid(error.to_string()))?;
    let reference = reference.map_or_else(|| Ok(Reference::head()), |text| Reference::read(&text.trimmed()));
    let reference = reference.map_err(|error| Problem::invalid(error.to_string()))?;
    let credential = credential.map(|RepositoryCredential { username, secret }| Credential {
        username: username.trimmed(),
        secret: secret.trimmed().into(),
    });
    let wanted = Wanted { address, reference, credential };
    let Fetched { commit, packed } = app.repositories.fetch(&wanted).await.map_err(not_fetched)?;
    let (url, reference) = (wanted.address.url().to_string(), wanted.reference.as_str().to_owned());
    let repository = SourceRepository { url, reference, commit };
    keep(app, caller, new.name.trimmed(), packed, SourceOrigin::Repository(&repository)).await
}

fn not_fetched(error: FetchError) -> Problem {
    match error {
        FetchError::NotCalled => Problem::destination_refused(error.to_string()),
        FetchError::Pack(error) => {
            refused(&error, "take a commit without that, or upload an archive of what is needed")
        }
        FetchError::Drill => Problem::conflict(format!("{error}; ask the system that it is a copy of")),
        FetchError::NoGit(_) => Problem::unavailable(error),
        error => Problem::repository_refused(error.to_string()),
    }
}

/// The object first, then the row that names it.
async fn keep(
    app: &App,
    caller: &Caller,
    name: String,
    packed: Packed,
    origin: SourceOrigin<'_>,
) -> Result<ProjectSourceId, Problem> {
    let source: ProjectSourceId = app.store.sources().id();
    let key = ObjectKeys { org: caller.org, generation: app.generation.generation }.project_source(source);
    let new = described(source, name, &packed, key)?;
    let stored = app.objects.put(&new.blob.key, Bytes::from(packed.content)).await.map_err(Problem::unavailable)?;
    let new = NewProjectSource { blob: row(&stored)?, ..new };
    let made = app.store.project_source_create(caller.org, origin, &new, caller.account).await;
    if let Err(ProjectSourceError::NoSuchUpload | ProjectSourceError::Complete) = made {
        // Somebody else made one of it at the same time; no row ever named this object.
        app.objects.delete(&new.blob.key).await.map_err(Problem::unavailable)?;
    }
    made?;
    Ok(source)
}

/// The whole of an upload, if it is what was declared.
async fn archive(app: &App, upload: &Upload) -> Result<Vec<u8>, Problem> {
    let size = usize::try_from(upload.size).ok().filter(|size| *size <= ARCHIVE_MAX);
    let size = size.ok_or_else(|| Problem::archive_refused("it is larger than 64 MiB; upload less of it"))?;
    if upload.artifact_id.is_some() {
        return Err(ProjectSourceError::Complete.into());
    }
    let (there, wanted) = (upload.parts.len(), parts(upload.size));
    if usize::try_from(wanted) != Ok(there) {
        return Err(Problem::conflict(format!("{there} of {wanted} parts are there: send the others first")));
    }
    let mut archive = Vec::with_capacity(size);
    for part in &upload.parts {
        let blob = uploads::named(&part.blob).map_err(Problem::internal)?;
        archive.extend_from_slice(&app.objects.get_blob(&blob).await.map_err(Problem::internal)?);
    }
    if Sha256::digest(&archive)[..] != upload.sha256[..] {
        return Err(Problem::conflict(
            "the parts do not have the SHA-256 that was declared: delete the upload and begin again",
        ));
    }
    Ok(archive)
}

fn described(
    project_source: ProjectSourceId,
    name: String,
    packed: &Packed,
    key: String,
) -> Result<NewProjectSource, Problem> {
    let number = |count: usize| i32::try_from(count).map_err(Problem::internal);
    let told = |left: &LeftOut| (left.path.clone(), left.why.to_owned());
    Ok(NewProjectSource {
        project_source,
        name,
        format: packed.format.as_str().to_owned(),
        files: number(packed.files)?,
        bytes: packed.bytes.try_into().map_err(Problem::internal)?,
        left_out: packed.left_out.iter().map(told).collect(),
        left_out_count: number(packed.left_out_count)?,
        blob: BlobRow { key, size: 0, sha256: Vec::new() },
    })
}

fn row(blob: &Blob) -> Result<BlobRow, Problem> {
    let size = blob.size.try_into().map_err(Problem::internal)?;
    Ok(BlobRow { key: blob.key.clone(), size, sha256: blob.sha256.to_vec() })
}

fn refused(error: &PackError, advice: &str) -> Problem {
    let PackError::Refused { first, count } = error else {
        return Problem::archive_refused(format!("{error}; {advice}"));
    };
    let named: Vec<String> = first.iter().take(NAMED).map(|Refusal { path, why }| format!("“{path}”: {why}")).collect();
    let more = count.saturating_sub(named.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Problem::archive_refused(format!("{error}: {}{more}; {advice}", named.join("; ")))
}

async fn find(app: &App, caller: &Caller, source: ProjectSourceId) -> Result<ProjectSource, Problem> {
    let found = app.store.project_source_get(caller.org, source).await?;
    found.ok_or_else(|| Problem::not_found("project source"))
}

/// A project source.
#[utoipa::path(
    get,
    path = "/api/project-sources/{project_source_id}",
    operation_id = "project_source_view",
    tag = "project sources",
    responses((status = 200, description = "It never changes.", body = ProjectSourceView)),
    security(("token" = ["artifacts.read"])),
)]
async fn view(
    State(app): State<App>,
    caller: Caller,
    Path(source): Path<ProjectSourceId>,
) -> Result<Json<ProjectSourceView>, Problem> {
    Ok(Json(find(&app, &caller, source).await?.into()))
}

/// The project sources of the org, oldest first.
#[utoipa::path(
    get,
    path = "/api/project-sources",
    operation_id = "project_source_list",
    tag = "project sources",
    params(Paging<ProjectSourceId>),
    responses((status = 200, description = "A page of them.", body = Page<ProjectSourceView>)),
    security(("token" = ["artifacts.read"])),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(paging): Query<Paging<ProjectSourceId>>,
) -> Result<Json<Page<ProjectSourceView>>, Problem> {
    let sources = app.store.project_source_list(caller.org, paging.cursor, paging.limit()).await?;
    Ok(Json(Page::of(sources, paging.limit(), |source| source.project_source_id).map(ProjectSourceView::from)))
}

/// Deletes a project source. Sessions that have begun with it go on from what they have saved.
#[utoipa::path(
    delete,
    path = "/api/project-sources/{project_source_id}",
    operation_id = "project_source_delete",
    tag = "project sources",
    responses((status = 204, description = "No session begins with it any more."), (status = 409, description = "A session that has not begun needs it.")),
    security(("token" = ["artifacts.write"])),
)]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(source): Path<ProjectSourceId>,
) -> Result<StatusCode, Problem> {
    app.store.project_source_delete(caller.org, source, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
pub(crate) mod tests;
