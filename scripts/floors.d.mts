import type { ICruiseOptions, IForbiddenRuleType } from 'dependency-cruiser';

/** The floors from the roof down, each with its rooms and files. */
export const house: readonly (readonly string[])[];
/** The rules that `npm run check` holds, and how dependency-cruiser is to look. */
export const floors: { readonly forbidden: IForbiddenRuleType[]; readonly options: ICruiseOptions };
