//! A plain client on tough: client METADATA_URL TARGETS_URL ROOT.json DIR TARGET...
//! writes target number N to DIR/N, and says "ok" or "absent" for each.

use std::error::Error;
use std::path::Path;
use tough::{IntoVec, RepositoryLoader, TargetName};
use url::Url;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = std::fs::read(&args[2])?;
    let dir = Path::new(&args[3]);
    let store = dir.join("store");
    std::fs::create_dir(&store)?;
    let repository = RepositoryLoader::new(&root, Url::parse(&args[0])?, Url::parse(&args[1])?)
        .datastore(store)
        .load()
        .await?;
    for (n, name) in args[4..].iter().enumerate() {
        match repository.read_target(&TargetName::new(name)?).await? {
            Some(stream) => {
                std::fs::write(dir.join(n.to_string()), stream.into_vec().await?)?;
                println!("ok");
            }
            None => println!("absent"),
        }
    }
    Ok(())
}
