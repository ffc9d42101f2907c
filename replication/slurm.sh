#!/bin/bash
# The replicates as a Slurm job array, from the project's folder: `mkdir -p logs && sbatch replication/slurm.sh`.
# Each task takes every n-th name, in a clone of its own: README.md beside this file. Options given to sbatch,
# such as --array=1-40 or --partition, win over these:
#SBATCH --job-name=replicates
#SBATCH --array=1-16
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=logs/%x-%a.out
set -eu

# Where tasks keep clones, and in these the checkpoints with which a task that was killed goes on, on whichever node.
project=$SLURM_SUBMIT_DIR
clone=${WORKERS:-$project.workers}/$SLURM_ARRAY_TASK_ID

# Each step may have been done, or half done, by the same task before it was killed; only it works in this clone.
git init --quiet "$clone"
cd "$clone"
rm -f .git/*.lock .dvc/tmp/rwlock
git fetch --quiet "$project" HEAD
git checkout --quiet --force --detach FETCH_HEAD
mkdir -p data
ln -sfn "$project/data/raw" data/raw
if [ -e "$project/.dvc/config.local" ]; then cp -p "$project/.dvc/config.local" .dvc/; fi

export PATH=$project/.venv/bin:$PATH
exec python -m replication.worker --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_MAX"
