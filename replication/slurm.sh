#!/bin/bash
# The replicates as a Slurm job array, in the project's folder: `mkdir -p logs && sbatch replication/slurm.sh`.
# Each task computes every n-th replicate in its own clone; see docs/many-machines.md. Options given to sbatch, such
# as --array=1-40 or --partition, override these:
#SBATCH --job-name=replicates
#SBATCH --array=1-16
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=logs/%x-%a.out
set -eu

if [ "$SLURM_ARRAY_TASK_COUNT" != "$SLURM_ARRAY_TASK_MAX" ]; then
  echo "--array must be 1-N. Submit the whole array again: what is complete takes seconds." >&2
  exit 1
fi

# The clones hold the checkpoints from which a killed task resumes, on any node.
project=$SLURM_SUBMIT_DIR
clone=${WORKERS:-$project.workers}/$SLURM_ARRAY_TASK_ID

# The same task, killed before, may have done each step completely or in part; no other task uses this clone.
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
