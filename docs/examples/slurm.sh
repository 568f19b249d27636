#!/usr/bin/env bash
# One part of a suite for each task of a Slurm job array; the whole is judged when they have ended:
#
#     export PROVENANCE_STORE=/shared/provenance
#     parts=$(sbatch --parsable --array=1-8 slurm.sh suites/)
#     sbatch --dependency=afterany:"$parts" --wrap "provenance merge suites/"
#
# A part that was killed is run again by `sbatch --array=3-3 ... `: set PARTS=8 then, since Slurm counts the
# tasks of the new array alone. Slurm's --requeue needs nothing of the kind.
#SBATCH --job-name=provenance
#SBATCH --cpus-per-task=4
#SBATCH --gpus=1
#SBATCH --mem=48G
#SBATCH --time=04:00:00
set -euo pipefail

: "${PROVENANCE_STORE:?set it to a folder that all nodes share, or to a URL}"
parts=${PARTS:-$SLURM_ARRAY_TASK_COUNT}
exec pytest "$@" --provenance-shard "$SLURM_ARRAY_TASK_ID/$parts"
