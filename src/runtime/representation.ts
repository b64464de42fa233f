/**
 * How the factors of a product lie in memory: `stored` as in the file (values and bitmask), `indexed` with column
 * numbers, `dense` as the product A·B in the stored type.
 */
export const representations = ['stored', 'indexed', 'dense'] as const;
export type Representation = (typeof representations)[number];

/** The representation of each product, by its name in the container. Survives JSON. */
export type RepresentationPlan = Readonly<Record<string, Representation>>;
