import { availableParallelism } from 'node:os';
import { engineOfRun } from '../compression/run-fingerprint.js';
import { RunFolder } from '../compression/run-folder.js';
import { DoubleSparseError } from '../errors.js';
import { claimModelFolder } from '../formats/model-folder.js';
import { chooseEngine } from '../linalg/engines/select.js';
import { checkIds } from '../models/llama/embedding.js';
import type { LlamaModel } from '../models/llama/model.js';
import { rotaryTable } from '../models/llama/rope.js';
import { collectParameters } from './collect-parameters.js';
import type { FinetuneEvent, FinetuneResult } from './finetune-events.js';
import { finetuneFingerprint, recordedOptions } from './finetune-fingerprint.js';
import { type FinetuneOptions, trainedKinds } from './finetune-options.js';
import type { FinetuneTexts } from './finetune-texts.js';
import type { TeacherModel } from './language-model.js';
import { languageTask } from './language-task.js';
import { trainInFolder } from './train-in-folder.js';
import { storedTensors, writeFinetuned } from './write-finetuned.js';

/**
 * Trains the values of a model, dense or compressed, supports as they are, and writes the model to `out`. State is kept
 * in `out`.run: the same call goes on where one was interrupted and ends with the same bytes.
 * @param teacher model of the same vocabulary whose next-token distribution is imitated.
 * @throws DoubleSparseError `non-finite-value` naming the step, `run-mismatch`, `run-in-use`, `option-out-of-range`,
 *   and those of reading and writing models
 */
export async function finetune(
  model: LlamaModel,
  teacher: LlamaModel | undefined,
  texts: FinetuneTexts,
  out: string,
  options: FinetuneOptions,
  onEvent: (event: FinetuneEvent) => void = () => {},
): Promise<FinetuneResult> {
  const { checkpoint, config } = model;
  const { training, validation } = texts;
  storedTensors(checkpoint);
  for (const ids of [...training.windows, ...(validation?.windows ?? [])]) checkIds(ids, config.vocabularySize);
  if (teacher && teacher.config.vocabularySize !== config.vocabularySize) {
    throw new DoubleSparseError(
      'shape-mismatch',
      `the teacher has a vocabulary of ${teacher.config.vocabularySize}, the model one of ${config.vocabularySize}`,
      { hint: 'the teacher is the dense model that the other was made from' },
    );
  }
  const threads = options.threads ?? availableParallelism();
  // A run goes on with the engine it began with: which one is faster at this moment may have changed.
  const choice = chooseEngine(options.engine === 'auto' ? (engineOfRun(`${out}.run`) ?? 'auto') : options.engine);
  const { seqLen } = training;
  const trainee = collectParameters(model, seqLen, options);
  if (trainee.values.length === 0) {
    throw new DoubleSparseError(
      'option-out-of-range',
      `${checkpoint.path} has no ${options.train.join(' and no ')} to train`,
      {
        data: { train: options.train },
        hint: `train something else: ${trainedKinds.join(', ')}`,
      },
    );
  }
  const teaching = teacher && readTeacher(teacher, seqLen);
  const folder = new RunFolder(`${out}.run`, finetuneFingerprint(model, teacher, texts, options, choice, threads), {
    restart: options.force,
  });
  const replace = options.force || folder.ownsOutput;
  return trainInFolder(
    folder,
    {
      refuse: () => claimModelFolder(out, checkpoint, replace),
      openTask: () => {
        onEvent({ kind: 'zeros', kept: options.keepZeros, ...trainee.sparse });
        return languageTask(trainee, teaching, texts, choice, threads, options);
      },
      write: (values, result) => {
        const { textHash: text } = training;
        const settings = {
          ...recordedOptions(options),
          text,
          step: result.writtenStep,
          teacher: teacher !== undefined,
        };
        writeFinetuned(checkpoint, out, values, trainee.stored, { settings, replace });
        onEvent({ kind: 'written', result });
      },
    },
    options,
    onEvent,
  );
}

function readTeacher(teacher: LlamaModel, seqLen: number): TeacherModel {
  const { config } = teacher;
  const embedding = teacher.readEmbedding();
  return {
    config,
    rotary: rotaryTable(config.rope, config.headSize, seqLen),
    embedding,
    blocks: Array.from({ length: config.layers }, (_, layer) => teacher.readBlock(layer)),
    head: teacher.readHead(embedding),
  };
}
