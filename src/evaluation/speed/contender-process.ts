import { postedError } from '../../errors.js';
import type { ContenderAnswer, ContenderRequest, LoadedContender } from './contender.js';
import { loadContender } from './load-contender.js';

let loaded: LoadedContender | undefined;

async function answerTo(request: ContenderRequest): Promise<ContenderAnswer> {
  try {
    if (request !== 'round') {
      loaded = await loadContender(request.contender, request.settings);
      return { ready: loaded.report };
    }
    if (!loaded) throw new Error('a round before the model');
    return { round: await loaded.round() };
  } catch (error) {
    return { error: postedError(error) };
  }
}

process.on('message', async (request: ContenderRequest) => process.send?.(await answerTo(request)));
// The parent is gone, or has what it wanted.
process.on('disconnect', () => process.exit(0));
